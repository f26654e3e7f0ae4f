"""
What a GGUF file says of itself: name, architecture, context, quantisation, size.

The file may come from anywhere, so every length in it is checked against a limit and against the bytes that are
really there before anything is read. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions
2 and 3, little-endian.
"""

from __future__ import annotations

import math
import os
import struct
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

    from llm_pool.core.messages import Json

MAGIC: Final = b"GGUF"
TASKS_KEY: Final = "llm_pool.tasks"
"""Our own: the names of the only tasks that a model was taught, a list."""
REFUSAL_KEY: Final = "llm_pool.refusal"
"""Our own: what is said to whoever asks it for another task, a string."""

_MAX_PAIRS, _MAX_TENSORS, _MAX_ITEMS, _MAX_DIMENSIONS = 10_000, 100_000, 4_000_000, 4
_MAX_STRING = 4 << 20  # chat templates are the longest strings there are, around 100 kB
_MAX_HEADER = 256 << 20  # a vocabulary of 256,000 tokens with its merges takes some 20 MB
_STRING, _ARRAY = 8, 9
_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_QUANTISATION: Final = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
    20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M",
    28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip


class NotGguf(ValueError):
    """The file is no GGUF file, or a broken one; the message says where it stops making sense."""


class GgufHeader(msgspec.Struct, frozen=True, kw_only=True):
    """
    The part of the header a person asks for.

    Attributes:
        context: tokens the model was trained for; None where the file does not say.
        parameters: number of weights.
        quantisation: the usual name, e.g. ``Q4_K_M``; empty where the file does not say.
        chat: the file brings a chat template.
        tasks: the only tasks the model was taught; empty where the file does not say, as in any but our own.
        refusal: one sentence to whoever asks for another task.
    """

    name: str
    architecture: str
    context: int | None
    parameters: int
    quantisation: str
    chat: bool
    tasks: tuple[str, ...] = ()
    refusal: str = ""


def read_header(path: Path) -> GgufHeader:
    """
    Read the header of *path*: some milliseconds for a small vocabulary, some hundred for the largest.

    Raises:
        NotGguf: the file is something else, or cut short.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        reader = _Reader(file)
        if reader.take(4) != MAGIC:
            raise NotGguf("does not start with 'GGUF'")
        if (version := reader.number("I")) not in {2, 3}:
            raise NotGguf(f"GGUF version {version}, expected 2 or 3")
        tensors = reader.count(_MAX_TENSORS, "tensors")
        pairs = reader.count(_MAX_PAIRS, "metadata entries")
        said = dict(reader.pair() for _ in range(pairs))
        parameters = reader.tensors(tensors)
    return _header(said, parameters)


def _header(said: dict[str, Json], parameters: int) -> GgufHeader:
    architecture = said.get("general.architecture")
    if not isinstance(architecture, str):
        raise NotGguf("names no architecture")
    name, context = said.get("general.name"), said.get(f"{architecture}.context_length")
    kind, tasks, refusal = (said.get(key) for key in ("general.file_type", TASKS_KEY, REFUSAL_KEY))
    return GgufHeader(
        name=name if isinstance(name, str) else "",
        architecture=architecture,
        context=context if isinstance(context, int) and context > 0 else None,
        parameters=parameters,
        quantisation=_QUANTISATION.get(kind, "") if isinstance(kind, int) else "",
        chat=bool(said.get("tokenizer.chat_template")),
        tasks=tuple(map(str, tasks)) if isinstance(tasks, list) else (),
        refusal=refusal if isinstance(refusal, str) else "",
    )


class _Reader:
    """Reads forward through a header, never past the end of the file or the limit."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._left = min(self._size, _MAX_HEADER)

    def take(self, size: int) -> bytes:
        self._spend(size)
        return self._file.read(size)

    def number(self, code: str) -> int:
        return int(self._scalar(code))

    def count(self, most: int, what: str) -> int:
        if (value := self.number("Q")) > most:
            raise NotGguf(f"claims {value} {what}, more than {most}")
        return value

    def string(self) -> str:
        return self.take(self.count(_MAX_STRING, "bytes of one string")).decode("utf-8", "replace")

    def pair(self) -> tuple[str, Json]:
        """One key with its value; a list is passed over and gives None, but for the one of our own."""
        key, kind = self.string(), self.number("I")
        if kind == _ARRAY:
            return key, self._list(keep=key == TASKS_KEY)
        if kind == _STRING:
            return key, self.string()
        return key, self._scalar(_code(kind))

    def tensors(self, count: int) -> int:
        """
        Walk the list of *count* tensors.

        Returns:
            how many weights they hold together.
        """
        weights, last = 0, 0
        for _ in range(count):
            self.string()
            if (dimensions := self.number("I")) > _MAX_DIMENSIONS:
                raise NotGguf(f"has a tensor of {dimensions} dimensions")
            weights += math.prod(self.number("Q") for _ in range(dimensions))
            self.number("I")
            last = max(last, self.number("Q"))
        if self._file.tell() + last > self._size:
            raise NotGguf(f"is cut short: the last tensor begins after the end, at byte {self._size}")
        return weights

    def _list(self, *, keep: bool) -> Json:
        """The strings of a list if they are to be kept."""
        kind, count = self.number("I"), self.count(_MAX_ITEMS, "items in one list")
        if kind == _STRING:
            strings: list[Json] = []
            for _ in range(count):
                string = self.string()
                if keep:
                    strings.append(string)
            return strings if keep else None
        size = count * struct.calcsize(_code(kind))
        self._spend(size)
        self._file.seek(size, os.SEEK_CUR)
        return None

    def _scalar(self, code: str) -> Json:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def _spend(self, size: int) -> None:
        if size > self._left:
            raise NotGguf(f"ends within the header, after byte {self._file.tell()}")
        self._left -= size


def _code(kind: int) -> str:
    if (code := _SCALARS.get(kind)) is None:
        raise NotGguf(f"has a value of unknown type {kind}")
    return code
