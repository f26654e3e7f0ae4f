"""A query arrives at the daemon as it was asked, by each way."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llm_pool.client.http_transport import body_of
from llm_pool.core.messages import Query, StrategyName, Turn
from llm_pool.server import grpc, queries
from llm_pool.wire.codec import query_message

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WORDS = st.text("abcdefghijk", min_size=1, max_size=8)
TURNS = st.builds(Turn, st.sampled_from(["system", "user", "assistant"]), TEXTS)
QUERIES = st.builds(
    Query,
    prompt=TEXTS,
    task=WORDS,
    request_id=WORDS,
    project_id=TEXTS,
    max_tokens=st.none() | st.integers(1, 2**31 - 1),
    deadline=st.none() | st.integers(1, 10**6).map(lambda ms: ms / 1000),
    strategy=st.none() | st.sampled_from(StrategyName),
    meta=st.dictionaries(WORDS, TEXTS, max_size=3),
    no_cache=st.booleans(),
    turns=st.lists(TURNS, max_size=3).map(tuple),
    output_schema=st.none() | st.dictionaries(WORDS, TEXTS | st.integers(-9, 9), max_size=3),
    temperature=st.none() | st.floats(0, 2),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    stop=st.lists(TEXTS.filter(bool), max_size=3).map(tuple),
    providers=st.lists(WORDS, max_size=3).map(tuple),
    think=st.none() | st.sampled_from([True, False, "low", "medium", "high"]),
)


@given(QUERIES)
def test_over_http(query: Query) -> None:
    """All that a client may say; an empty schema is as good as none."""
    assert queries.decode_infer(body_of(query)).query == _expected(query)


@given(QUERIES)
def test_over_grpc(query: Query) -> None:
    """Likewise."""
    assert grpc.decode_infer(query_message(query).SerializeToString()) == query


def _expected(query: Query) -> Any:
    import msgspec

    return msgspec.structs.replace(query, output_schema=query.output_schema or None)
