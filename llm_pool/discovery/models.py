"""What was found: a model on a server, and what the choice among them needs to know."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from llm_pool.config import Driver  # noqa: TC001  # msgspec reads the annotation

if TYPE_CHECKING:
    from llm_pool.core.messages import ModelFacts

BYTES_PER_PARAMETER: Final = 0.6
"""Of a model in four to five bits, as nearly all local ones are: 4.9 GB for the 8.0 billion of Llama 3.1."""
_BILLIONS: Final = re.compile(r"(?:^|[^a-z0-9.])(?:(\d{1,2})x)?(\d{1,4}(?:\.\d{1,3})?)b(?![a-z0-9])")
_LETTERS: Final = re.compile(r"[a-z]+")
_OTHER_WORK: Final = re.compile(
    r"embed|rerank|minilm|cross-encoder|splade|whisper|parakeet|kokoro|xtts|musicgen|diffusion|siglip|dall-e|moderation"
    r"|bert|no-model|(?:^|[/_-])(?:bge|e5|gte|tts|asr|vad|piper|bark|clip|flux|sdxl|sd3|rmbg|image|guard|colbert|paraphrase)"
    r"(?:[-_:.]|\s|$)"
)
"""In names of models that make vectors, ranks, sound, pictures or verdicts on safety, and of KoboldCpp's none."""


class FoundModel(msgspec.Struct, frozen=True, kw_only=True):
    """
    A model that answers questions.

    Attributes:
        name: as its server lists it.
        server: what kind of server that is, for people.
        url: where it listens.
        family: the architecture, where it is known.
        size: bytes on disk, where they are known.
        shares_memory: it is loaded when it is asked, into this machine's memory, beside the others.
    """

    name: str
    server: str
    driver: Driver
    url: str
    family: str = ""
    size: int | None = None
    shares_memory: bool = False

    @property
    def bytes(self) -> float | None:
        """Its size as it is known or, by the number of parameters in its name, as it may be."""
        if self.size is not None:
            return float(self.size)
        found = _BILLIONS.search(self.name.lower())
        if found is None:
            return None
        return float(found[1] or 1) * float(found[2]) * 1e9 * BYTES_PER_PARAMETER or None

    @property
    def lineage(self) -> str:
        """
        Who made it, as far as its name tells: ``qwen`` of ``Qwen/qwen3:4b``.

        Servers' own words are second: for Ollama a Mistral is of the family *llama*.
        """
        letters = _LETTERS.match(self.name.lower().rpartition("/")[2])
        return letters[0] if letters else self.family or self.name


def may_chat(facts: ModelFacts) -> bool:
    """Whether a model answers questions here: by what its server says or, where it says nothing, by its name."""
    if facts.remote:
        return False  # it would leave the machine
    if facts.capabilities is not None:
        return facts.can_chat
    return not _OTHER_WORK.search(f"{facts.name} {facts.family}".lower())
