"""The vectors are what the Python client does: they are made anew and compared, and it passes them over a socket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.client import AsyncClient, Token
from llm_pool.client.retry import is_retryable
from llm_pool.core.errors import InvalidRequest, LlmPoolError
from llm_pool.core.messages import Answer
from llm_pool.facade.questions import query_of
from llm_pool.security.hmac import Slot, parse_signed, verify_signature
from llm_pool.server.queries import decode_infer
from llm_pool.wire.json import EventEncoder, answer_json, error_code, state_json
from tests.sdk.replay import replaying
from tools.vectors import FOLDER, signatures, text, vectors

if TYPE_CHECKING:
    from tests.sdk.replay import Asked

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

MADE = vectors()


def cases(name: str) -> Any:
    """A file's vectors as parameters of a test, by their names."""
    loaded = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return [pytest.param(case, id=case["name"]) for case in loaded]


@pytest.mark.parametrize("name", MADE)
async def test_a_file_is_what_the_client_does(name: str) -> None:
    """``python -m tools.vectors`` writes it anew."""
    assert (FOLDER / name).read_text(encoding="utf-8") == text(MADE[name])


async def test_there_is_no_other_file() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == set(MADE)


@pytest.mark.parametrize("case", cases("signatures.json"))
async def test_the_server_takes_what_is_signed(case: dict[str, Any]) -> None:
    """And nobody can sign what it would read otherwise."""
    if "refused" in case:
        with pytest.raises(ValueError, match="cannot be signed"):
            signatures.signed_with(case)
        return
    sent = {name.lower(): value for name, value in (case["headers"] | case["added"]).items()}
    headers = [(name.encode(), value.encode()) for name, value in sent.items()]

    request, signature = parse_signed(
        case["method"], case["path"].encode(), case["query"].encode(), headers, case["body"].encode()
    )

    slots = {"a": Slot(secret=case["secret"])}
    assert verify_signature(case["audience"], slots, request, signature, wall=case["wall"]) == "a"


@pytest.mark.parametrize("case", cases("requests.json"))
async def test_a_call_is_the_request_and_its_answer_is_read(case: dict[str, Any]) -> None:
    """Through a real socket."""
    if "refused" in case:
        with pytest.raises(InvalidRequest) as caught:
            query_of(case["messages"], {})
        assert caught.value.field == case["refused"]
        return
    told = case["response"]
    credentials = Token(case["token"]) if case.get("token") else None
    async with (
        replaying(told["status"], told["headers"], told["body"].encode(), path=case.get("url", "")) as (url, replay),
        AsyncClient(url, credentials=credentials, retries=0) as client,
    ):
        said = await called(client, case)

    expected = json.loads(told["body"])
    assert said == {name: expected[name] for name in said}
    [asked] = replay.asked
    compare(asked, case["request"])


async def called(client: AsyncClient, case: dict[str, Any]) -> dict[str, Any]:
    """What the call of *case* gives, as JSON."""
    match case["call"]:
        case "infer":
            return answer_json(await client.infer(decode_infer(json.dumps(case["query"]).encode()).query))
        case "chat":
            return answer_json(await client.infer(query_of(case["messages"], case["query"])))
        case _:
            health = await client.health()
            states = [state_json(state) for state in health.states]
            return {"healthy": health.healthy, "version": health.version, "providers": states}


def compare(asked: Asked, wanted: dict[str, Any]) -> None:
    """What is left of a deadline may be a second less by now; *wanted* names every header that is ours."""
    assert (asked.method, asked.path) == (wanted["method"], wanted["path"])
    assert json.loads(asked.body or "null") == wanted["body"]
    headers = dict(wanted["headers"])
    if "x-deadline-ms" in headers:
        assert 0 <= int(headers.pop("x-deadline-ms")) - int(asked.headers["x-deadline-ms"]) < 1000
    assert headers.items() <= asked.headers.items()


@pytest.mark.parametrize("case", cases("errors.json"))
async def test_an_error_is_told_as_what_it_is(case: dict[str, Any]) -> None:
    """Those of the daemon, and those of whoever answers in its place."""
    told, wanted = case["response"], case["error"]
    async with (
        replaying(told["status"], told["headers"], told["body"].encode()) as (url, _),
        AsyncClient(url, retries=0) as client,
    ):
        with pytest.raises(LlmPoolError) as caught:
            await client.infer("hello")

    error = caught.value
    assert is_retryable(error) is wanted["retryable"]
    assert all(word in str(error) for word in wanted.get("mentions", ()))
    if wanted["known"]:
        assert error_code(error) == wanted["code"]
    if "message" in wanted:
        assert (str(error), error.hint, getattr(error, "field", None)) == (
            wanted["message"],
            wanted["hint"],
            wanted["field"],
        )
        pause = wanted["retry_after_ms"]
        assert getattr(error, "retry_after", None) == (None if pause is None else pause / 1000)


@pytest.mark.parametrize("case", cases("streams.json"))
async def test_a_stream_tells_its_events_and_ends(case: dict[str, Any]) -> None:
    """Wherever the network cuts it."""
    sent = case["sent"].encode()
    cuts = list(range(case["piece"], len(sent), case["piece"])) if case["piece"] else case["cuts"]
    pieces = [sent[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    encoder, told, end = EventEncoder(), [], "nothing"

    async with (
        replaying(200, {"content-type": "text/event-stream"}, *pieces) as (url, _),
        AsyncClient(url, retries=0) as client,
    ):
        try:
            async for event in client.stream("hello", request_id="r1"):
                told += encoder.encode(event)
                end = "answer" if isinstance(event, Answer) else "nothing"
        except LlmPoolError as error:
            end = error_code(error)

    assert told == case["events"]
    assert end == case["end"]


@pytest.mark.parametrize("case", cases("feedback.json"))
async def test_feedback_says_what_was_learned(case: dict[str, Any]) -> None:
    """Or why not."""
    told = case["response"]
    async with (
        replaying(told["status"], told["headers"], told["body"].encode()) as (url, replay),
        AsyncClient(url) as client,
    ):
        try:
            said: Any = {"learned": await client.feedback(case["request_id"], good=case["good"])}
        except LlmPoolError as error:
            said = {"error": error_code(error)}

    assert said.items() <= case.items()
    [asked] = replay.asked
    compare(asked, {"headers": {"content-type": "application/json"}, **case["request"]})
