"""Whose page sent a request, and by which name it came."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_pool.config import parse
from llm_pool.core.errors import PermissionDenied
from llm_pool.security.origin_check import check_origin

ONE = '[[providers]]\nname = "a"\ndriver = "ollama"\nmodel = "m"\nbase_url = "http://127.0.0.1:9"\n'
TLS = parse('[server]\nhttp_addr = "0.0.0.0:7071"\ntls_cert = "cert.pem"\n' + ONE, Path("llm-pool.toml"))


def test_over_tls_a_name_is_proven_by_its_certificate() -> None:
    """Whoever comes by another one was stopped before; our own page is good under it."""
    check_origin([(b"host", b"pool.example:7071")], TLS)
    check_origin([(b"host", b"pool.example:7071"), (b"origin", b"https://pool.example:7071")], TLS)


@pytest.mark.parametrize("origin", [b"https://evil.example", b"https://pool.example", b"null"])
def test_over_tls_other_pages_are_other_pages(origin: bytes) -> None:
    """A browser would send the user's certificate along with what they ask."""
    with pytest.raises(PermissionDenied, match="web pages"):
        check_origin([(b"host", b"pool.example:7071"), (b"origin", origin)], TLS)


def test_without_a_host_nothing_is_known() -> None:
    """So it is refused."""
    plain = parse(ONE, Path("llm-pool.toml"))

    with pytest.raises(PermissionDenied, match="Host"):
        check_origin([], plain)


@pytest.mark.parametrize("name", [b"origin", b"host", b"sec-fetch-site"])
def test_what_says_whose_page_it_is_comes_once(name: bytes) -> None:
    """Of two, one reader would believe the first and another the last."""
    plain = parse(ONE, Path("llm-pool.toml"))
    headers = [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"sec-fetch-site", b"same-origin")]
    check_origin(headers, plain)

    with pytest.raises(PermissionDenied, match="twice"):
        check_origin([(name, b"http://evil.example"), *headers], plain)
