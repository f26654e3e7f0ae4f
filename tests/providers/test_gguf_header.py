"""What a GGUF file says of itself, and files that lie."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llm_pool
from llm_pool.providers.gguf_header import GgufHeader, NotGguf, read_header

POCKETS = sorted((Path(llm_pool.__file__).parent / "models").glob("*.gguf"))


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def gguf(*pairs: bytes, tensors: int = 1, version: int = 3, shape: tuple[int, ...] = (4, 3), offset: int = 0) -> bytes:
    """A file of the smallest useful kind: what *pairs* say, and *tensors* small tensors."""
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, len(pairs)) + b"".join(pairs)
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return head + (text("t") + dimensions + struct.pack("<IQ", 0, offset)) * tensors + bytes(128)


def string(key: str, value: str) -> bytes:
    return text(key) + struct.pack("<I", 8) + text(value)


def number(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


NAMED = (
    string("general.architecture", "llama"),
    string("general.name", "Tiny"),
    number("llama.context_length", 2048),
    number("general.file_type", 15),
)


def test_it_tells_what_a_person_asks_for(tmp_path: Path) -> None:
    """Also when lists of words and numbers stand between."""
    path = tmp_path / "m.gguf"
    words = text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("bc")
    scores = text("tokenizer.ggml.scores") + struct.pack("<IIQ", 9, 6, 3) + bytes(12)
    template = string("tokenizer.chat_template", "{{ messages }}")
    tasks = text("llm_pool.tasks") + struct.pack("<IIQ", 9, 8, 2) + text("judge") + text("ask")
    refusal = string("llm_pool.refusal", "I only judge")
    path.write_bytes(gguf(words, scores, *NAMED, template, tasks, refusal, tensors=2))

    header = read_header(path)

    assert header == GgufHeader(
        name="Tiny",
        architecture="llama",
        context=2048,
        parameters=24,
        quantisation="Q4_K_M",
        chat=True,
        tasks=("judge", "ask"),
        refusal="I only judge",
    )


@pytest.mark.parametrize("path", POCKETS, ids=lambda path: path.stem)
def test_a_shipped_model_has_a_header(path: Path) -> None:
    """Ours, too, are proper files, and say what they were taught."""
    header = read_header(path)

    assert header.architecture == "llama"
    assert header.chat
    assert header.parameters > 100_000
    assert {"judge", "judging"} < set(header.tasks)
    assert "only knows the six tasks" in header.refusal


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "ends within the header"),
        (b"<!doctype html><title>Log in</title>", "does not start with 'GGUF'"),
        (b"GGUF" + struct.pack(">I", 3), "version"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "claims 1152921504606846976 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), "metadata entries"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 62), "bytes of one string"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 20), "ends within the header"),
        (gguf(text("k") + struct.pack("<I", 99)), "unknown type 99"),
        (gguf(text("k") + struct.pack("<IIQ", 9, 9, 1)), "unknown type 9"),
        (gguf(text("k") + struct.pack("<IIQ", 9, 8, 1 << 50)), "items in one list"),
        (gguf(text("k") + struct.pack("<IIQ", 9, 12, 1 << 20)), "ends within the header"),
        (gguf(*NAMED, shape=(1,) * 5), "5 dimensions"),
        (gguf(*NAMED, offset=1 << 40), "cut short"),
        (gguf(string("general.name", "x")), "names no architecture"),
    ],
)
def test_a_lie_is_told_apart_at_once(tmp_path: Path, data: bytes, why: str) -> None:
    """Sizes are believed only as far as the file goes."""
    path = tmp_path / "m.gguf"
    path.write_bytes(data)

    with pytest.raises(NotGguf, match=why):
        read_header(path)


@given(position=st.integers(0, 230), value=st.integers(0, 255), cut=st.integers(0, 300))
def test_no_damage_does_more_than_be_refused(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, cut: int
) -> None:
    """One byte changed, and the end missing: a header or NotGguf, never another error."""
    path = tmp_path_factory.getbasetemp() / "damaged.gguf"
    data = bytearray(gguf(*NAMED))
    data[min(position, len(data) - 1)] = value
    path.write_bytes(data[: len(data) - cut])

    try:
        header = read_header(path)
    except NotGguf:
        return
    assert header.architecture is not None
