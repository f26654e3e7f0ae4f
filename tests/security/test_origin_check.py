"""Whose page sent a request, and by which name it came."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_pool.config import parse
from llm_pool.core.errors import PermissionDenied
from llm_pool.security.origin_check import REMEMBERED, OriginCheck

ONE = '[[providers]]\nname = "a"\ndriver = "ollama"\nmodel = "m"\nbase_url = "http://127.0.0.1:9"\n'
TLS = parse('[server]\nhttp_addr = "0.0.0.0:7071"\ntls_cert = "cert.pem"\n' + ONE, Path("llm-pool.toml"))


def test_over_tls_a_name_is_proven_by_its_certificate() -> None:
    """Whoever comes by another one was stopped before; our own page is good under it."""
    OriginCheck(TLS).check([(b"host", b"pool.example:7071")])
    OriginCheck(TLS).check([(b"host", b"pool.example:7071"), (b"origin", b"https://pool.example:7071")])


@pytest.mark.parametrize("origin", [b"https://evil.example", b"https://pool.example", b"null"])
def test_over_tls_other_pages_are_other_pages(origin: bytes) -> None:
    """A browser would send the user's certificate along with what they ask."""
    with pytest.raises(PermissionDenied, match="web pages"):
        OriginCheck(TLS).check([(b"host", b"pool.example:7071"), (b"origin", origin)])


def test_without_a_host_nothing_is_known() -> None:
    """So it is refused."""
    plain = parse(ONE, Path("llm-pool.toml"))

    with pytest.raises(PermissionDenied, match="Host"):
        OriginCheck(plain).check([])


@pytest.mark.parametrize("name", [b"origin", b"host", b"sec-fetch-site"])
def test_what_says_whose_page_it_is_comes_once(name: bytes) -> None:
    """Of two, one reader would believe the first and another the last."""
    plain = parse(ONE, Path("llm-pool.toml"))
    headers = [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"sec-fetch-site", b"same-origin")]
    OriginCheck(plain).check(headers)

    with pytest.raises(PermissionDenied, match="twice"):
        OriginCheck(plain).check([(name, b"http://evil.example"), *headers])


def test_what_was_said_before_is_judged_as_the_first_time() -> None:
    """Also once more has been said than is remembered."""
    check = OriginCheck(parse(ONE, Path("llm-pool.toml")))
    good, bad = [(b"host", b"localhost")], [(b"host", b"evil.example")]

    for number in range(3 * REMEMBERED):
        check.check(good)
        with pytest.raises(PermissionDenied, match="Host"):
            check.check(bad)
        with pytest.raises(PermissionDenied, match="Host"):
            check.check([(b"host", b"%d.example" % number)])

    assert len(check._refusals) <= REMEMBERED
