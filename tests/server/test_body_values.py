"""A request of many values is refused before it holds the event loop."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.errors import InvalidRequest
from llm_pool.server.body_values import MAX_WEIGHT, is_too_much
from llm_pool.server.queries import decode_infer

SIZE = 4 << 20
FIELDS = ("prompt", "meta", "stop", "turns", "providers", "images", "tools", "output_schema", "nonsense")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("unit", ["[],", "{},", '"",', '{"a":1},', "1,", "1e9,", '["",1],', '"\\"",', "[", '"a'])
def test_it_is_refused_or_read_quickly(field: str, unit: str) -> None:
    """Far less than half a second, which 4 MiB of empty lists took."""
    body = f'{{"prompt":"a","{field}":[{unit * (SIZE // len(unit))}0]}}'.encode()

    began = time.process_time()
    with pytest.raises(InvalidRequest):
        decode_infer(body)

    assert time.process_time() - began < 0.1


@pytest.mark.parametrize(
    "text", ["word, " * 600_000, "[{}, " * 500_000, '{"a": [1, 2]},\n' * 200_000, 'a,"b",\\' * 300_000]
)
def test_a_long_text_is_one_value(text: str) -> None:
    """Whatever is in it, JSON too."""
    assert decode_infer(json.dumps({"prompt": text}).encode()).query.prompt == text


def test_a_long_conversation_is_taken() -> None:
    turns = [{"role": "user", "text": "a"}, {"role": "assistant", "text": "b"}] * 2000

    assert len(decode_infer(json.dumps({"prompt": "a", "turns": turns}).encode()).query.turns) == 4000


@given(
    st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda v: st.lists(v) | st.dictionaries(st.text(), v))
)
def test_a_small_one_is_not_too_much(value: object) -> None:
    body = json.dumps(value).encode()

    assert is_too_much(body) is (len(body) > MAX_WEIGHT)


@given(st.binary(max_size=200))
def test_any_bytes_are_counted(body: bytes) -> None:
    assert is_too_much(body * 1000) in {True, False}
