"""What goes wrong goes wrong as announced, and the journal tells it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import pytest

from llm_pool.testing.upstream import Model, ScriptedAnswer, TextRequest, Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

MESSAGES = [{"role": "user", "content": "which colour is the sky?"}]
NDJSON = "/api/chat", {"model": "phi3:mini", "messages": MESSAGES}
SSE = "/v1/chat/completions", {"model": "phi3:mini", "messages": MESSAGES, "stream": True}
PLAIN = "/api/chat", {"model": "phi3:mini", "messages": MESSAGES, "stream": False}
FORMS = pytest.mark.parametrize("form", [NDJSON, SSE, PLAIN], ids=["ndjson", "sse", "plain"])


@pytest.fixture
async def up() -> AsyncIterator[Upstream]:
    async with Upstream(answer=lambda _: "blue " * 10) as upstream:
        yield upstream


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110  # counts are read, nobody announces them
            await asyncio.sleep(0.001)


async def connect(up: Upstream, form: tuple[str, Any]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that has asked and may leave."""
    reader, writer = await asyncio.open_connection(urlsplit(up.url).hostname, urlsplit(up.url).port)
    writer.write(_request(form))
    return reader, writer


def _request(form: tuple[str, Any]) -> bytes:
    path, body = form
    data = msgspec.json.encode(body)
    return f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


@FORMS
async def test_well_is_well(up: Upstream, ask: Any, form: Any) -> None:
    """Status 200, the whole text, and an entry that says so."""
    heard = await ask(up.url, *form)

    assert heard.whole
    assert heard.status == 200
    assert heard.body.count(b"blue") == 10
    [entry] = up.journal.inferences("phi3:mini")
    assert (entry.ending, entry.status, entry.mode) == ("answered", 200, "ok")
    assert entry.arrived <= (entry.first_byte or 0) <= (entry.ended or 0)
    assert entry.body == form[1]


@FORMS
@pytest.mark.parametrize(("mode", "status"), [("error", 500), ("error:404", 404), ("busy:3", 503), ("flaky:1", 500)])
async def test_a_refusal_is_a_status_and_a_reason(up: Upstream, ask: Any, form: Any, mode: str, status: int) -> None:
    """In the dialect's words; busy says when to come back."""
    up.set_mode("phi3:mini", mode)

    heard = await ask(up.url, *form)

    assert heard.status == status
    assert heard.json["error"]
    assert heard.headers.get("retry-after") == ("3" if mode == "busy:3" else None)
    assert up.counts.refused == 1


@FORMS
async def test_a_cut_ends_in_half_a_line(up: Upstream, ask: Any, form: Any) -> None:
    """Two pieces, then the line goes dead without the end that HTTP demands."""
    up.set_mode("*", "cut:2")

    heard = await ask(up.url, *form)

    assert heard.status == 200
    assert not heard.whole
    assert up.counts.broken == 1
    if form is NDJSON:
        *pieces, half = heard.body.splitlines()
        assert all(msgspec.json.decode(piece)["message"]["content"] for piece in pieces)
        assert len(pieces) == 2
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(half)


@FORMS
@pytest.mark.parametrize("mode", ["reset", "reset:2"])
async def test_a_reset_is_a_reset(up: Upstream, ask: Any, form: Any, mode: str) -> None:
    """Not a polite end: the peer's read fails."""
    up.set_mode("*", mode)

    with pytest.raises(ConnectionResetError):
        await ask(up.url, *form)

    assert up.counts.broken == 1


@FORMS
async def test_garbage_is_not_what_its_header_says(up: Upstream, ask: Any, form: Any) -> None:
    """A well-framed 200 that no parser takes."""
    up.set_mode("*", "garbage")

    heard = await ask(up.url, *form)

    assert heard.whole
    assert heard.status == 200
    with pytest.raises(msgspec.DecodeError):
        heard.json  # noqa: B018  # reading it is the test


async def test_an_error_in_the_stream_comes_under_status_200(up: Upstream, ask: Any) -> None:
    """The last line is an error, as Ollama writes it; nothing says done."""
    up.set_mode("*", "error-in-stream:2")

    heard = await ask(up.url, *NDJSON)
    in_events = await ask(up.url, *SSE)

    assert heard.whole
    assert heard.status == in_events.status == 200
    assert [next(iter(line)) for line in heard.lines] == ["model", "model", "error"]
    assert b'data: {"error":' in in_events.body
    assert b"[DONE]" not in in_events.body


@FORMS
@pytest.mark.parametrize("mode", ["hang", "stall:2"])
async def test_a_client_that_leaves_is_noticed_at_once(up: Upstream, form: Any, mode: str) -> None:
    """The work stops, and the journal knows when it was and that it was the client."""
    up.set_mode("*", mode)
    _, writer = await connect(up, form)
    await eventually(lambda: up.counts.in_flight == 1)
    await asyncio.sleep(0.02)

    left = time.monotonic()
    writer.close()
    await eventually(lambda: up.counts.cancelled == 1)

    [entry] = up.journal.inferences()
    assert entry.ending == "cancelled"
    assert -0.001 < (entry.ended or 0) - left < 0.1
    assert (entry.closed_after or 0) >= 0.02
    assert up.counts.in_flight == 0


async def test_a_cancelled_stream_is_not_written_on(ask: Any) -> None:
    """Generation stops where the client left it, and its slot is free for the next."""
    async with Upstream(answer=lambda _: "blue " * 500, per_token="const:0.01", slots=1) as up:
        reader, writer = await connect(up, NDJSON)
        await reader.readuntil(b'"done":false}\n')
        writer.close()
        await eventually(lambda: up.counts.cancelled == 1)
        pieces = up.journal.inferences()[0].pieces
        up.set_mode("*", "nonsense")

        heard = await ask(up.url, *PLAIN)

    assert pieces < 20
    assert heard.status == 200


async def test_a_trickle_keeps_its_rate_and_halves_its_lines(up: Upstream, ask: Any) -> None:
    """Slow, but right in the end."""
    up.set_mode("*", "trickle:100")

    began = time.monotonic()
    heard = await ask(up.url, *NDJSON)

    assert heard.whole
    assert heard.body.count(b"blue") == 10
    assert 0.09 < time.monotonic() - began < 1.0


async def test_times_are_as_ordered(ask: Any) -> None:
    """First token after ttft, the rest at per_token; slow multiplies both."""
    async with Upstream(answer=lambda _: "one two three", ttft="const:0.05", per_token="const:0.02") as up:
        await ask(up.url, *NDJSON)
        up.set_mode("*", "slow:3")
        await ask(up.url, *NDJSON)

    for entry, factor in zip(up.journal.inferences(), (1, 3), strict=True):
        first, last = (entry.first_byte or 0) - entry.arrived, (entry.ended or 0) - entry.arrived
        assert 0.05 * factor <= first < 0.05 * factor + 0.04
        assert 0.09 * factor <= last < 0.09 * factor + 0.06


async def test_the_same_seed_gives_the_same_luck(ask: Any) -> None:
    """Each model draws for itself, whatever the others do."""

    async def played(seed: int) -> list[str]:
        async with Upstream(["a", "b"], seed=seed) as up:
            up.set_mode("*", "flaky:0.5")
            for name in ("a", "b") * 8 if seed else ("a",) * 8:
                await ask(up.url, "/api/chat", {"model": name, "messages": MESSAGES})
            return [entry.mode for entry in up.journal.inferences("a")]

    assert await played(1) == await played(1)
    assert len(set(await played(0))) == 2


async def test_the_test_has_the_first_word(ask: Any) -> None:
    """A function sees the question and answers text, a Said with its logprobs, or leaves it to the generator."""

    def answer(question: TextRequest) -> ScriptedAnswer | None:
        return ScriptedAnswer("B", top=(("B", -0.1), ("A", -2.4))) if question.top_logprobs else None

    asking = {"messages": MESSAGES, "stream": False, "model": "phi3:mini"}
    async with Upstream(answer=answer) as up:
        letter = await ask(up.url, "/api/chat", asking | {"logprobs": True, "top_logprobs": 2})
        echoed = await ask(up.url, "/api/chat", asking)

    assert [top["token"] for top in letter.json["logprobs"][0]["top_logprobs"]] == ["B", "A"]
    assert echoed.json["message"]["content"] == "phi3:mini heard: which colour is the sky?"


@pytest.mark.parametrize(
    ("path", "spoken", "field", "off"),
    [
        ("/api/chat", ("message",), "thinking", {"think": False}),
        ("/api/generate", (), "thinking", {"think": False}),
        ("/v1/chat/completions", ("choices", 0, "message"), "reasoning", {"reasoning_effort": "none"}),
    ],
)
async def test_a_model_that_thinks_does_so_unless_told_not_to(
    ask: Any, path: str, spoken: tuple[Any, ...], field: str, off: dict[str, Any]
) -> None:
    thinking = ScriptedAnswer("Yes.", reasoning="17 is odd.")
    asking = {"messages": MESSAGES, "prompt": "Is 17 prime?", "stream": False, "model": "phi3:mini"}
    async with Upstream(answer=lambda _: thinking) as up:
        thought, plain = await ask(up.url, path, asking), await ask(up.url, path, asking | off)

    def said(reply: Any) -> dict[str, Any]:
        value = reply.json
        for step in spoken:
            value = value[step]
        return value

    assert said(thought)[field] == "17 is odd."
    assert field not in said(plain)


async def test_a_token_limit_cuts_and_says_so(up: Upstream, ask: Any) -> None:
    """``num_predict`` and ``max_tokens`` alike; the count is of tokens, not of lines."""
    path, body = PLAIN
    heard = await ask(up.url, path, body | {"options": {"num_predict": 3}})
    limited = await ask(up.url, "/v1/chat/completions", {"messages": MESSAGES, "model": "phi3:mini", "max_tokens": 4})

    assert (heard.json["done_reason"], heard.json["eval_count"]) == ("length", 3)
    assert limited.json["choices"][0]["finish_reason"] == "length"
    assert limited.json["usage"]["completion_tokens"] == 4


async def test_a_cold_model_is_loaded_first_and_ps_shows_when(ask: Any) -> None:
    """The request waits, says how long it was, and the machine counts."""
    async with Upstream([Model(name="phi3:mini", load_time=0.1), "gemma2:9b"], cold=True, max_loaded=1) as up:
        before = await ask(up.url, "/api/ps")
        heard = await ask(up.url, *PLAIN)
        after = await ask(up.url, "/api/ps")
        await ask(up.url, "/api/generate", {"model": "gemma2:9b"})

    assert before.json == {"models": []}
    assert 0.1e9 <= heard.json["load_duration"] < 0.3e9
    assert [model["name"] for model in after.json["models"]] == ["phi3:mini"]
    assert (up.counts.loads, up.counts.swaps) == (2, 1)


async def test_an_ollama_waits_for_a_loading_model_where_a_llama_server_refuses(ask: Any) -> None:
    """Two servers, two behaviours; both are well afterwards."""
    async with Upstream() as ollama, Upstream(["phi3-mini"], flavor="llama-server") as llama:
        ollama.set_mode("*", "loading:0.1")
        llama.set_mode("*", "loading:0.1")
        unlisted, health = await ask(ollama.url, "/api/ps"), await ask(llama.url, "/health")
        refused = await ask(llama.url, *SSE)
        waited = await ask(ollama.url, *NDJSON)
        healthy, answered = await ask(llama.url, "/health"), await ask(llama.url, *SSE)

    assert unlisted.json["models"] == []
    assert health.status == refused.status == 503
    assert refused.json["error"]["message"] == "Loading model"
    assert waited.lines[-1]["total_duration"] >= 0.08e9
    assert healthy.status == answered.status == 200


async def test_a_full_queue_is_ollamas_busy(ask: Any) -> None:
    """One slot, no queue: the second is turned away while the first is served."""
    async with Upstream(ttft="const:0.1", slots=1, max_queue=0) as up:
        first = asyncio.create_task(ask(up.url, *PLAIN))
        await eventually(lambda: up.counts.in_flight == 1)
        second = await ask(up.url, *PLAIN)

        assert second.status == 503
        assert "maximum pending requests exceeded" in second.json["error"]
        assert (await first).status == 200


async def test_a_pull_breaks_off_and_resumes(ask: Any) -> None:
    """Progress is kept; then the model is on the disk, and can be deleted."""
    async with Upstream([], registry={"smol": 100_000}, pull_rate=2_000_000) as up:
        up.set_mode("smol", "cut:1", "ok")
        broken = await ask(up.url, "/api/pull", {"model": "smol"})
        resumed = await ask(up.url, "/api/pull", {"model": "smol"})
        listed = await ask(up.url, "/api/tags")
        deleted = await ask(up.url, "/api/delete", {"model": "smol"}, method="DELETE")
        gone = await ask(up.url, "/api/show", {"model": "smol"})

    assert not broken.whole
    assert resumed.lines[1]["completed"] == 40_000
    assert resumed.lines[-1] == {"status": "success"}
    assert [(m["name"], m["size"]) for m in listed.json["models"]] == [("smol", 100_000)]
    assert (deleted.status, deleted.body, gone.status) == (200, b"", 404)


async def test_a_path_can_be_spoiled_too(up: Upstream, ask: Any) -> None:
    """For what asks no model: health, tags."""
    up.set_mode("/api/tags", "error:502", "ok")

    assert (await ask(up.url, "/api/tags")).status == 502
    assert (await ask(up.url, "/api/tags")).status == 200


async def test_modes_and_journal_are_open_over_http(up: Upstream, ask: Any) -> None:
    """For a test in another process; a wrong mode is refused with the list."""
    set_mode = await ask(up.url, "/_upstream/script", {"model": "phi3:mini", "modes": ["error:418"]})
    spoiled = await ask(up.url, *PLAIN)
    wrong = await ask(up.url, "/_upstream/script", {"modes": ["eror"]})
    journal = (await ask(up.url, "/_upstream/journal")).json

    assert (set_mode.status, spoiled.status, wrong.status) == (200, 418, 400)
    assert "expected ok, error" in wrong.json["error"]
    assert journal["counts"]["refused"] == 1
    assert [e["mode"] for e in journal["entries"] if e["model"]] == ["error:418"]


async def test_a_connection_serves_one_request_after_the_other(up: Upstream) -> None:
    """Kept alive, with the second request sent before the first is answered, and chunked."""
    data = msgspec.json.encode(PLAIN[1])
    chunked = b"POST /api/chat HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    chunked += b"5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (data[:5], len(data) - 5, data[5:])

    reader, writer = await connect(up, PLAIN)
    writer.write(chunked)
    raw = await reader.read()
    writer.close()

    assert raw.count(b"HTTP/1.1 200 OK") == 2
    assert up.counts.answered == 2


async def test_leaving_closes_everything() -> None:
    """Nobody is left hanging when the test is over."""
    async with Upstream() as up:
        up.set_mode("*", "hang")
        reader, writer = await connect(up, NDJSON)
        await eventually(lambda: up.counts.in_flight == 1)

    assert await reader.read() == b""
    writer.close()
