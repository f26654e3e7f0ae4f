from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.errors import BadReply, Busy, Failed, ProviderError, Rejected, Unreachable
from llm_pool.providers.replies import decode, error_for, error_text, probe_state, retry_after
from llm_pool.providers.transport import Backend, Reply

if TYPE_CHECKING:
    from llm_pool.core.messages import ProviderState

BACKEND = Backend("p", "http://127.0.0.1:1", headers={"Authorization": "Bearer sk-12345"}, hint="start it")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (401, Rejected),
        (404, Rejected),
        (422, Rejected),
        (429, Busy),
        (500, Failed),
        (501, Failed),
        (502, Failed),
        (503, Busy),
        (504, Failed),
        (302, Rejected),
        (204, Rejected),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[ProviderError]) -> None:
    error = error_for(BACKEND, Reply(status, {}, b'{"error": "why"}'))

    assert type(error) is kind
    assert error.provider == "p"
    assert str(status) in str(error)


def test_a_busy_backend_says_when_to_come_back() -> None:
    assert error_for(BACKEND, Reply(503, {"retry-after": "7"}, b"")).retry_after == 7.0


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_names_the_setting(status: int) -> None:
    assert error_for(BACKEND, Reply(status, {}, b"")).hint == "check api_key of provider p"


def test_a_redirect_names_the_other_address() -> None:
    error = error_for(BACKEND, Reply(301, {"location": "https://elsewhere/"}, b""))

    assert "redirects to https://elsewhere/" in str(error)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("0.5", 0.5),
        ("-1", 0.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, now=10.0) == seconds


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error":"model not found"}', "model not found"),
        (b'{"error":{"code":500,"message":"parse error","type":"server_error"}}', "parse error"),
        (b'{"message":"no"}', "no"),
        (b'{"detail":[{"loc":["body"],"msg":"missing"}]}', '[{"loc":["body"],"msg":"missing"}]'),
        (b'{"other":1}', '{"other":1}'),
        (b'{"error":{}}', '{"error":{}}'),
        (b'"a string"', "a string"),
        (b"404 page not found", "404 page not found"),
        (b"<html>\n  <h1>Bad Gateway</h1>", "an HTML page"),
        (b"<html><title>502 Bad\n Gateway &amp; co</title><hr>", "an HTML page titled '502 Bad Gateway & co'"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML document: 'AccessDenied'"),
        (b'{"error":true,"message":"no"}', "no"),
        (b'{"errors":["a","b"]}', '["a","b"]'),
        (b'{"error":"half \\ud83d"}', "half \ufffd"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
        (b'{"error":"x' + b"x" * 1000 + b'"}', "x" * 300),
        ({"error": {"message": "parsed already"}}, "parsed already"),
    ],
)
def test_the_backends_own_words(body: Any, said: str) -> None:
    assert error_text(BACKEND, body) == said


def test_a_key_that_comes_back_in_an_error_is_hidden() -> None:
    """OpenAI-like servers quote the key they refuse."""
    error = error_for(BACKEND, Reply(401, {}, b'{"error": {"message": "Incorrect API key provided: sk-12345."}}'))

    assert "sk-12345" not in str(error) + repr(error) + repr(BACKEND)
    assert "Incorrect API key provided: ***." in str(error)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"a": "x"}', b"\xff", b'{"a": "\xff"}'])
def test_what_is_not_of_the_shape_is_a_bad_reply(raw: bytes) -> None:
    with pytest.raises(BadReply, match="unreadable answer"):
        decode(BACKEND, raw, dict[str, int])


def test_a_page_in_the_place_of_a_list_is_named() -> None:
    with pytest.raises(BadReply, match="it answers with an HTML page titled 'Sign in'"):
        decode(BACKEND, b"<!doctype html><title>Sign in</title>", dict[str, int])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "condition", "hint"),
    [
        (Unreachable("p", "nobody"), "unreachable", "start it"),
        (Failed("p", "500"), "failing", ""),
        (Rejected("p", "401", hint="check"), "failing", "check"),
    ],
)
async def test_an_error_is_a_state_too(error: ProviderError, condition: str, hint: str) -> None:
    async def probe() -> ProviderState:
        raise error

    state = await probe_state(BACKEND, "m", probe)

    assert (state.condition, state.detail, state.hint) == (condition, error.reason, hint)


@pytest.mark.anyio
async def test_a_backend_has_two_seconds_to_say_how_it_is() -> None:
    async def probe() -> ProviderState:
        await asyncio.sleep(60)
        raise AssertionError

    began = asyncio.get_running_loop().time()
    state = await probe_state(BACKEND, "m", probe)

    assert asyncio.get_running_loop().time() - began < 2.0
    assert (state.condition, state.hint) == ("unreachable", "start it")
