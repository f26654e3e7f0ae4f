"""A kept answer as bytes, and back: what every cache writes down."""

from __future__ import annotations

import msgspec

from llm_pool.core.messages import Answer  # noqa: TC001  msgspec reads it


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    made: float
    answer: Answer


SPOILT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What ``unpack`` raises of bytes that are no answer, or of another version."""

_encoder, _decoder = msgspec.json.Encoder(), msgspec.json.Decoder(_Entry)


def pack(answer: Answer, *, made: float) -> bytes:
    """*answer* as bytes, with the instant it was made, on the clock of whoever keeps it."""
    return _encoder.encode(_Entry(made, answer))


def unpack(packed: bytes, *, now: float) -> Answer:
    """
    The answer in *packed*, marked as kept, with its age at *now*; a clock that stepped back makes it new, not negative.

    Raises:
        SPOILT: the bytes are of another format.
    """
    entry = _decoder.decode(packed)
    return msgspec.structs.replace(entry.answer, from_cache=True, age=max(0.0, now - entry.made))
