"""The HTTP API over real sockets."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import pytest

from llm_pool import __version__
from llm_pool.testing.upstream import ScriptedAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

ASKED = {"task": "expand_queries", "prompt": "cinematic lounge videos", "max_tokens": 256, "deadline_ms": 1500}


async def test_the_predecessors_curl_works(daemon: Any, ask: Any) -> None:
    """Its field names go in, its field names come out; curl -d says form data."""
    reply = await ask(
        daemon.url, "POST", "/v1/infer", ASKED, Content_Type="application/x-www-form-urlencoded", Accept="*/*"
    )

    assert reply.status == 200
    assert {"request_id", "content", "winner_model", "duration_ms", "from_cache", "decision"} <= set(reply.json)
    assert reply.json["winner_model"] == "phi3:mini"
    assert reply.headers["content-type"] == "application/json"


async def test_zero_and_empty_mean_the_default(daemon: Any, ask: Any) -> None:
    """As they did, and as protobuf has it."""
    body = {"prompt": "hi", "task": "", "max_tokens": 0, "deadline_ms": 0, "strategy": "", "meta": {}, "tenant_id": ""}

    assert (await ask(daemon.url, "POST", "/v1/infer", body)).status == 200


async def test_a_prompt_may_be_json(daemon: Any, ask: Any) -> None:
    """Where the task takes an object, it need not be quoted."""
    prompt = {"query": "2+2?", "candidates": [{"id": "a", "text": "4"}, {"id": "b", "text": "5"}]}

    reply = await ask(daemon.url, "POST", "/v1/infer", {"task": "judge", "prompt": prompt, "strategy": "fastest"})

    assert reply.status == 200
    assert isinstance(reply.json["json"], dict)


async def test_the_same_question_again_comes_from_the_cache(daemon: Any, ask: Any) -> None:
    """One cache behind all APIs."""
    first = await ask(daemon.url, "POST", "/v1/infer", ASKED)

    again = await ask(daemon.url, "POST", "/v1/infer", ASKED)

    assert (first.json["from_cache"], again.json["from_cache"]) == (False, True)
    assert again.json["content"] == first.json["content"]


@pytest.mark.parametrize(
    ("body", "field", "hint"),
    [
        ({"prompt": "hi", "strategy": "fastets"}, "strategy", "did you mean FASTEST?"),
        ({"prompt": "hi", "task": "expand_query"}, "task", "did you mean expand_queries?"),
        ({"prompt": "hi", "max_token": 3}, "max_token", "did you mean max_tokens?"),
        ({"prompt": "hi", "max_tokens": "3"}, "max_tokens", None),
        ({"prompt": "hi", "meta": {"a": 1}}, "meta", None),
        ({"task": "ask"}, "prompt", None),
        ({"prompt": "  "}, "prompt", None),
        ({"prompt": "hi", "deadline_ms": -1}, "deadline_ms", None),
    ],
)
async def test_a_bad_request_names_the_field(daemon: Any, ask: Any, body: Any, field: str, hint: str | None) -> None:
    """And the way out, where there is one."""
    reply = await ask(daemon.url, "POST", "/v1/infer", body)

    error = reply.json["error"]
    assert (reply.status, error["code"], error["field"], error["hint"]) == (400, "invalid_request", field, hint)


async def test_paths_and_methods_nobody_serves_are_told_in_the_same_shape(daemon: Any, ask: Any) -> None:
    """Not found, and not this way."""
    lost, wrong = await ask(daemon.url, "GET", "/v2/infer"), await ask(daemon.url, "GET", "/v1/infer")

    assert (lost.status, lost.json["error"]["code"]) == (404, "not_found")
    assert (wrong.status, wrong.json["error"]["code"], wrong.headers["allow"]) == (405, "method_not_allowed", "POST")


@pytest.mark.parametrize("way", ["field", "header"])
async def test_a_plain_question_streams_as_it_is_written(daemons: Any, ask: Any, way: str) -> None:
    """Start, pieces, then the whole answer; the pieces are the answer, to the letter."""
    body: dict[str, Any] = {"prompt": "Tell me of the sea."}
    headers = {"Accept": "text/event-stream"} if way == "header" else {}
    if way == "field":
        body["stream"] = True
    async with daemons(answer=lambda _: "The sea is wide\nand grün 🌊") as running:
        reply = await ask(running.url, "POST", "/v1/infer", body, **headers)

    kinds = [kind for kind, _ in reply.events]
    final = reply.events[-1][1]
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert (kinds[0], kinds[-1]) == ("start", "answer")
    assert "".join(data["text"] for kind, data in reply.events if kind == "delta") == final["content"]
    assert final["content"] == "The sea is wide\nand grün 🌊"


async def test_pieces_are_not_held_back(daemons: Any) -> None:
    """Each is there before the next is written: no Nagle, no buffer (two gateways lose 44 ms a stream that way)."""
    async with daemons(answer=lambda _: "one two three four", per_token="const:0.1") as running:
        arrivals = [
            at
            async for at, line in timed_lines(running.url, {"prompt": "hi", "stream": True})
            if line.startswith(b"event: delta")
        ]

    gaps = [after - before for before, after in itertools.pairwise(arrivals)]
    assert len(gaps) >= 2
    assert all(gap > 0.05 for gap in gaps), gaps


async def test_an_ensemble_tells_its_candidates_before_it_decides(daemons: Any, ask: Any) -> None:
    """The first to answer leads for the time being; the end says what won, and is final."""
    async with daemons() as running:
        reply = await ask(running.url, "POST", "/v1/infer", {**ASKED, "strategy": "VOTING", "stream": True})

    candidates = [data for kind, data in reply.events if kind == "candidate"]
    assert candidates
    assert not any(candidate["final"] for candidate in candidates)
    assert reply.events[-1][0] == "answer"
    assert reply.events[-1][1]["final"] is True


async def test_an_error_before_the_first_event_has_its_status(daemon: Any, ask: Any) -> None:
    """Whoever asked for a stream is told of a bad request as anybody else."""
    reply = await ask(daemon.url, "POST", "/v1/infer", {"prompt": " ", "stream": True})

    assert (reply.status, reply.headers["content-type"]) == (400, "application/json")


async def test_a_stream_that_nobody_can_write_is_an_error_with_its_status(daemons: Any, ask: Any) -> None:
    """While nothing was sent, the status still can say so."""
    async with daemons() as running:
        running.upstream.set_mode("*", "error:500")
        reply = await ask(running.url, "POST", "/v1/infer", {"prompt": "hi", "stream": True})

    assert (reply.status, reply.headers["content-type"]) == (502, "application/json")


async def test_what_a_model_thinks_has_events_of_its_own(daemons: Any, ask: Any) -> None:
    """The text stays free of it; the answer says how it ended."""
    async with daemons(answer=lambda _: ScriptedAnswer("Yes, it is.", reasoning="17 is odd.")) as daemon:
        body = {"prompt": "Is 17 prime?", "stream": True}
        events = (await ask(daemon.url, "POST", "/v1/infer", body)).events
        cut = (await ask(daemon.url, "POST", "/v1/infer", {"prompt": "Is 19 prime?", "max_tokens": 4})).json

    assert "".join(data["text"] for kind, data in events if kind == "reasoning") == "17 is odd."
    assert "".join(data["text"] for kind, data in events if kind == "delta") == "Yes, it is."
    assert (events[-1][1]["finish"], events[-1][1]["decision"]["attempts"][0]["reasoning"]) == ("stop", "17 is odd.")
    assert (cut["content"], cut["finish"]) == ("Yes,", "length")


async def test_an_error_within_a_stream_is_its_last_event(
    daemons: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream ends as HTTP says it should, all the same."""
    monkeypatch.setattr("llm_pool.server.http.STATUS_WAIT", 0.05)
    async with daemons() as running:
        running.upstream.set_mode("*", "hang")
        reply = await ask(running.url, "POST", "/v1/infer", {"prompt": "hi", "stream": True, "deadline_ms": 200})

    kind, data = reply.events[-1]
    assert (reply.status, kind) == (200, "error")
    assert (data["error"]["code"], data["final"]) == ("deadline_exceeded", True)


async def test_the_clients_patience_is_the_deadline(daemons: Any, ask: Any) -> None:
    """The header counts where it is shorter than the body; time that is over asks nobody (R2)."""
    async with daemons() as running:
        running.upstream.set_mode("*", "hang")
        began = time.monotonic()
        late = await ask(running.url, "POST", "/v1/infer", {**ASKED, "deadline_ms": 4000}, X_Deadline_Ms="200")
        took = time.monotonic() - began
        asked = running.upstream.counts.requests
        over = await ask(running.url, "POST", "/v1/infer", ASKED, X_Deadline_Ms="0")
        odd = await ask(running.url, "POST", "/v1/infer", ASKED, X_Deadline_Ms="soon")

        assert (late.status, late.json["error"]["code"]) == (504, "deadline_exceeded")
        assert 0.15 < took < 1.0
        assert over.status == 504
        assert running.upstream.counts.requests == asked
        assert (odd.status, odd.json["error"]["field"]) == (400, "X-Deadline-Ms")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_stops_the_models(daemons: Any, stream: bool) -> None:
    """The backend sees its connection close within 100 ms, and nothing is left behind (R3)."""
    async with daemons(answer=lambda _: "word " * 200, per_token="const:0.05") as running:
        writers = [await send(running.url, {"prompt": f"hi {number}", "stream": stream}) for number in range(5)]
        await until(lambda: running.upstream.counts.in_flight == 5)

        left = time.monotonic()
        for writer in writers:
            writer.transport.abort()
        await until(lambda: running.upstream.counts.in_flight == 0)
        took = time.monotonic() - left

        assert took < 0.3  # 100 ms on a machine of one's own
        assert running.upstream.counts.cancelled == 5
        assert running.manager.in_flight == 0


async def test_health_says_how_each_provider_is(daemon: Any, ask: Any) -> None:
    """Healthy, providers and version, as the predecessor had them; generation and reload beside them."""
    reply = await ask(daemon.url, "GET", "/health")

    assert reply.status == 200
    assert (reply.json["healthy"], reply.json["version"], reply.json["generation"]) == (True, __version__, 1)
    assert [p["state"] for p in reply.json["providers"]] == ["healthy"] * 3
    assert reply.json["last_reload"]["ok"] is True


async def test_tasks_are_listed_with_their_schemas(daemon: Any, ask: Any) -> None:
    """What a client needs to fill in a form."""
    tasks = {task["name"]: task for task in (await ask(daemon.url, "GET", "/v1/tasks")).json["tasks"]}

    assert {"ask", "expand_queries", "judge"} <= set(tasks)
    assert tasks["judge"]["input_schema"]["type"] == "object"


async def test_feedback_is_learned_by_request_id(daemons: Any, ask: Any) -> None:
    """At once, and for the asker's own requests only."""
    async with daemons(answer=lambda asked: f"I am {asked.model}.") as running:
        body = {"prompt": "Who are you?", "strategy": "VOTING", "request_id": "r1"}
        assert (await ask(running.url, "POST", "/v1/infer", body)).status == 200
        good = await ask(running.url, "POST", "/v1/feedback", {"request_id": "r1", "good": True})
        lost = await ask(running.url, "POST", "/v1/feedback", {"request_id": "r2", "good": True})

    assert (good.status, set(good.json)) == (200, {"learned"})
    assert (lost.status, lost.json["error"]["field"]) == (400, "request_id")


async def test_nothing_says_what_serves(daemon: Any, ask: Any) -> None:
    """No server header; every answer says its date, and that it is not to be sniffed or stored."""
    reply = await ask(daemon.url, "GET", "/livez")

    assert "server" not in reply.headers
    assert {"date", "x-content-type-options", "cache-control"} <= set(reply.headers)


async def test_a_bug_is_told_without_its_details(daemon: Any, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log has them."""

    async def broken() -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(daemon.manager, "tasks", broken)

    reply = await ask(daemon.url, "GET", "/v1/tasks")

    assert (reply.status, reply.json["error"]["code"]) == (500, "internal")
    assert b"secret" not in reply.body


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what another process of this loop brings about."""
    while not holds():  # noqa: ASYNC110  # the upstream's counts have no event
        await asyncio.sleep(0.005)


async def send(url: str, body: Any) -> asyncio.StreamWriter:
    """A request whose answer nobody reads."""
    _, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    data = msgspec.json.encode(body)
    writer.write(b"POST /v1/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
    return writer


async def timed_lines(url: str, body: Any) -> AsyncIterator[tuple[float, bytes]]:
    """The lines of an answer, and when each came."""
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    data = msgspec.json.encode(body)
    writer.write(b"POST /v1/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
    try:
        while line := await reader.readline():
            yield time.monotonic(), line
            if line == b"0\r\n":
                return
    finally:
        writer.close()
