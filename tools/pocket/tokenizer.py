"""The vocabulary: a small byte-level BPE that llama.cpp splits exactly as we do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import tokenizers

END, USER, SYSTEM, ASSISTANT = "<|end|>", "<|user|>", "<|system|>", "<|assistant|>"
SPECIAL = (END, USER, SYSTEM, ASSISTANT)
"""Marks of the chat template; their numbers are their places here. ``<|end|>`` also ends a text."""

PRE_TOKENIZER = "smollm"
"""llama.cpp's name for: each digit on its own, then GPT-2's words. A number is read digit by digit."""


@dataclass(frozen=True)
class Tokenizer:
    """A trained BPE, as text to numbers for training and as parts for a GGUF."""

    bpe: tokenizers.Tokenizer

    @classmethod
    def train(cls, texts: Iterable[str], *, size: int) -> Tokenizer:
        """
        Learn *size* tokens from *texts*: the special marks, 256 bytes, the rest merges.

        No merge joins a space to a word, so a word is the same tokens after a space as after a quotation mark,
        and copying from a prompt into JSON is copying. To a bracket or a mark it may be joined.
        """
        from tokenizers import Regex, models, pre_tokenizers, trainers
        from tokenizers import Tokenizer as Bpe

        bpe = Bpe(models.BPE())
        as_llama_cpp = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        alone = pre_tokenizers.Split(Regex(r" (?=[\p{L}\p{N}])"), "isolated")
        bpe.pre_tokenizer = pre_tokenizers.Sequence([alone, *as_llama_cpp])
        bpe.train_from_iterator(
            texts,
            trainers.BpeTrainer(
                vocab_size=size,
                special_tokens=list(SPECIAL),
                initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                show_progress=False,
            ),
        )
        bpe.pre_tokenizer = pre_tokenizers.Sequence(as_llama_cpp)
        return cls(bpe)

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read what ``save`` wrote."""
        from tokenizers import Tokenizer as Bpe

        return cls(Bpe.from_file(str(path)))

    def save(self, path: Path) -> None:
        """Write the ``tokenizers`` JSON."""
        self.bpe.save(str(path))

    def __len__(self) -> int:
        return int(self.bpe.get_vocab_size())

    def encode(self, text: str) -> tuple[list[int], list[int]]:
        """
        Token numbers, and for each the character of *text* at which it ends (one past its last).

        The special marks are read as marks.
        """
        encoded = self.bpe.encode(text)
        return list(encoded.ids), [end for _, end in encoded.offsets]

    def tokens(self) -> list[str]:
        """All tokens by number, in GPT-2's printable bytes, as GGUF stores them."""
        by_number = {number: token for token, number in self.bpe.get_vocab().items()}
        return [by_number[number] for number in range(len(self))]

    def merges(self) -> list[str]:
        """The merges in rank order, each ``left right``."""
        return [" ".join(pair) for pair in json.loads(self.bpe.to_str())["model"]["merges"]]


def as_chat(prompt: str) -> str:
    """One user turn, up to where the model speaks: what ``CHAT_TEMPLATE`` makes of it."""
    return f"{USER}{prompt}{END}{ASSISTANT}"


CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""Jinja, stored in the GGUF."""
