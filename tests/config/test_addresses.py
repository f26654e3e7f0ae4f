"""What a base_url may be, and what to write instead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.config import Driver
from llm_pool.config.addresses import address_fault

HOST = "http://h:1"


@pytest.mark.parametrize(
    ("driver", "address"),
    [
        ("openai", HOST),
        ("openai", f"{HOST}/"),
        ("openai", f"{HOST}/v1"),
        ("openai", f"{HOST}/v1/"),
        ("openai", f"{HOST}/api"),
        ("openai", f"{HOST}/v1beta/openai/"),
        ("openai", f"{HOST}/engines/v1"),
        ("openai", "HTTPS://h"),
        ("openai", "http://[::1]:8080/v1"),
        ("ollama", HOST),
        ("ollama", f"{HOST}/ollama/"),
        ("ollama", f"{HOST}/api/gateway"),
        ("http", f"{HOST}/v1/chat/completions"),
    ],
)
def test_an_address_before_the_paths_of_an_api(driver: str, address: str) -> None:
    assert address_fault(Driver(driver), address) is None


@pytest.mark.parametrize(
    ("driver", "address", "got", "want"),
    [
        ("openai", f"{HOST}/v1/chat/completions", "/v1/chat/completions", f"{HOST}/v1"),
        ("openai", f"{HOST}/v1/chat/completions/", "/v1/chat/completions", f"{HOST}/v1"),
        ("openai", f"{HOST}/llm/v1/models", "/llm/v1/models", f"{HOST}/llm/v1"),
        ("openai", f"{HOST}/v1?api-version=2", "query", f"{HOST}/v1"),
        ("openai", f"{HOST}/v1?", "query", f"{HOST}/v1"),
        ("openai", f"{HOST}#top", "query", HOST),
        ("http", f"{HOST}/x?key=1", "query", f"{HOST}/x"),
        ("ollama", f"{HOST}/v1", "/v1", HOST),
        ("ollama", f"{HOST}/v1/chat/completions", "/v1/chat/completions", HOST),
        ("ollama", f"{HOST}/api", "/api", HOST),
        ("ollama", f"{HOST}/api/chat", "/api/chat", HOST),
        ("ollama", f"{HOST}/ollama/api/tags/", "/ollama/api/tags", f"{HOST}/ollama"),
        ("openai", "http://h:99999", "port", "http://host:port"),
        ("openai", "http://h:0", "port", "http://host:port"),
        ("openai", "http://:80", "no host", "http://host:port"),
        ("openai", "http://[::1", "no host", "http://host:port"),
    ],
)
def test_what_is_wrong_and_what_to_write(driver: str, address: str, got: str, want: str) -> None:
    fault = address_fault(Driver(driver), address)

    assert fault is not None
    assert got in fault[0]
    assert fault[1] == want


@given(st.sampled_from(list(Driver)), st.text(alphabet="abv1/i:?#.[]", max_size=30))
def test_the_address_to_write_is_a_good_one(driver: Driver, rest: str) -> None:
    """One correction is enough."""
    fault = address_fault(driver, f"http://h{rest}")

    if fault is not None and "host:port" not in fault[1]:
        again = address_fault(driver, fault[1])
        assert again is None or len(again[1]) < len(fault[1])
