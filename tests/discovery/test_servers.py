"""Who is asked: the default ports on loopback, and Ollama where ``OLLAMA_HOST`` says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.errors import ConfigError
from llm_pool.discovery.servers import DEFAULT_PORTS, is_loopback, ollama_address, servers_to_ask


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("gpu-box", "http://gpu-box:11434"),
        ("gpu-box:8080", "http://gpu-box:8080"),
        ("http://gpu-box", "http://gpu-box:80"),
        ("https://gpu-box", "https://gpu-box:443"),
        ("https://gpu-box:8443/ollama/", "https://gpu-box:8443/ollama"),
        ("HTTP://127.0.0.1:11500", "http://127.0.0.1:11500"),
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:11500", "http://127.0.0.1:11500"),
        ("http://0.0.0.0:11500", "http://127.0.0.1:11500"),
        (":11500", "http://127.0.0.1:11500"),
        ("11500", "http://127.0.0.1:11500"),
        ("ollama.com", "https://ollama.com:443"),
        ("::", "http://127.0.0.1:11434"),
        ("[::]:11500", "http://127.0.0.1:11500"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:11500", "http://[::1]:11500"),
        ("gpu-box:nonsense", "http://gpu-box:11434"),
        ("gpu-box:70000", "http://gpu-box:11434"),
    ],
)
def test_every_form_of_ollama_host(said: str, address: str) -> None:
    assert ollama_address(said) == address


@pytest.mark.parametrize("said", ["tcp://box", "http://me:secret@box", "a b", "box?x", "box\x00", "[zz]:1", "a:b:c"])
def test_what_is_no_address_is_told_without_repeating_it(said: str) -> None:
    with pytest.raises(ConfigError, match=r"OLLAMA_HOST: expected an address such as") as caught:
        ollama_address(said)

    assert "secret" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_an_error(said: str) -> None:
    try:
        address = ollama_address(said)
    except ConfigError:
        return
    assert address.startswith(("http://", "https://"))
    assert not any(char.isspace() for char in address)


def test_without_the_variable_loopback_alone_is_asked() -> None:
    servers = servers_to_ask({})

    assert [server.url for server in servers] == [f"http://127.0.0.1:{default.port}" for default in DEFAULT_PORTS]
    assert all(server.is_here for server in servers)


def test_the_variable_replaces_the_default_ollama_and_is_the_only_other_place() -> None:
    servers = servers_to_ask({"OLLAMA_HOST": " 'gpu-box:1' "})

    assert [server.url for server in servers if not server.is_here] == ["http://gpu-box:1"]
    assert "http://127.0.0.1:11434" not in {server.url for server in servers}


def test_an_address_is_asked_once_as_ollama_if_the_variable_says_so() -> None:
    servers = servers_to_ask({"OLLAMA_HOST": "127.0.0.1:8080"})

    assert [server.label for server in servers if server.url.endswith(":8080")] == ["Ollama"]


@pytest.mark.parametrize(
    ("host", "here"), [("localhost", True), ("::1", True), ("127.8.8.8", True), ("10.0.0.1", False)]
)
def test_loopback_is_told_by_name(host: str, here: bool) -> None:
    assert is_loopback(host) is here
