"""The embedded engine: a real worker process with the shipped model."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import struct
import subprocess
import sys
import textwrap
import time
from contextlib import aclosing, asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import msgspec
import pytest

from llm_pool.core.errors import Busy, Failed, ProviderError, Rejected, Unreachable, UnsupportedTask
from llm_pool.core.messages import Task, Turn
from llm_pool.providers import llamacpp
from llm_pool.providers.gguf import BUNDLED
from llm_pool.providers.llamacpp import LlamaCppProvider, grammar
from llm_pool.tasks import JUDGING, load_tasks
from llm_pool.testing import a_call as any_call
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llm_pool.core.messages import Call, Delta
    from llm_pool.providers.transport import Transport

pytest.importorskip("xllamacpp")
pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

SHAPES = {
    name: task.output_schema
    for name, task in load_tasks([Path(__file__).parents[2] / "prompts"]).items()
    if task.output_schema
}
LONG = {"type": "object", "properties": {"text": {"type": "string", "minLength": 100_000}}, "required": ["text"]}
PROC = Path("/proc")
WIDE = 16_384  # tokens


def a_call(prompt: str = "excellent photos", **changes: Any) -> Call:
    """A call in the name of a task that the shipped model was taught; *prompt* is in its words."""
    return any_call(prompt, task=Task(name="judge", template="{{input}}"), **changes)


@asynccontextmanager
async def engine(transport: Transport, model: str = "pocket-a", **options: Any) -> AsyncIterator[LlamaCppProvider]:
    provider = LlamaCppProvider(name="embedded", model=model, transport=transport, **options)
    try:
        yield provider
    finally:
        await provider.aclose()


async def ask(provider: LlamaCppProvider, call: Call) -> tuple[str, Delta]:
    """The whole text, and the last delta."""
    async with aclosing(provider.stream(call)) as deltas:
        everything = [delta async for delta in deltas]
    return "".join(delta.text for delta in everything), everything[-1]


async def begun(provider: LlamaCppProvider, call: Call) -> asyncio.Task[Any]:
    """A call that has produced its first text, and goes on."""
    writing = asyncio.Event()

    async def read() -> None:
        async with aclosing(provider.stream(call)) as deltas:
            async for _ in deltas:
                writing.set()

    task = asyncio.create_task(read())
    await asyncio.wait({asyncio.create_task(writing.wait()), task}, return_when=asyncio.FIRST_COMPLETED)
    return task


async def slots(provider: LlamaCppProvider) -> list[Any]:
    running = provider._engine
    assert running is not None
    reply = await running._transport.request(running.backend, "GET", "/slots")
    return [slot["is_processing"] for slot in json.loads(reply.body)]


async def until_slots(provider: LlamaCppProvider, *, busy: bool) -> float:
    """Seconds until a slot works, or none does any more."""
    began = time.monotonic()
    async with asyncio.timeout(10):
        while any(await slots(provider)) is not busy:  # noqa: ASYNC110  # the engine has no event to wait for
            await asyncio.sleep(0.002)
    return time.monotonic() - began


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The shipped model, said to be trained for more tokens than it is: busy for seconds."""
    path = tmp_path_factory.mktemp("models") / "wide.gguf"
    head, key, tail = (BUNDLED / "pocket-a.gguf").read_bytes().partition(b"llama.context_length")
    assert tail[:4] == struct.pack("<I", 4)
    path.write_bytes(head + key + tail[:4] + struct.pack("<I", WIDE) + tail[8:])
    path.with_name(llamacpp.VOCABULARIES).write_text("{}", encoding="utf-8")  # it takes any words
    return str(path)


class NoWorker:
    """A process that is only said to live: the engine's part is played by the scripted upstream."""

    pid, key, exit = 0, "sesame", ""
    alive = True

    def __init__(self, url: str) -> None:
        self.url = url

    async def ended(self, within: float) -> bool:
        return False

    async def stop(self, *, at_once: bool = False) -> None:
        self.alive = False


def pid(provider: LlamaCppProvider) -> int:
    assert provider._engine is not None
    return provider._engine.worker.pid


async def stop(provider: LlamaCppProvider) -> int:
    """Make the worker hang; gives its process id."""
    hung = pid(provider)
    os.kill(hung, signal.SIGSTOP)
    await asyncio.sleep(0.1)  # until each of its threads has noticed
    return hung


def exists(process: int) -> bool:
    """The process lives, or is a zombie nobody collected."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def test_it_starts_with_the_first_question_and_says_how_long_that_took(transport: Transport) -> None:
    """Warming before, healthy after; only the first answer has a loading time."""
    async with engine(transport) as provider:
        before = await provider.state()

        text, first = await ask(provider, a_call(max_tokens=5))
        _, second = await ask(provider, a_call(max_tokens=5))

        after = await provider.state()
    assert (before.condition, before.hint) == ("warming", "llm-pool health --warm")
    assert (after.condition, after.loaded) == ("healthy", ("pocket-a",))
    assert text
    assert first.loading is not None
    assert first.loading > 0
    assert second.loading is None
    assert first.final
    assert first.usage.completion_tokens in range(1, 6)


async def test_a_model_declines_what_it_was_not_taught(transport: Transport) -> None:
    """It says so itself, at once: no process is started to invent an answer."""
    async with engine(transport) as provider:
        with pytest.raises(
            UnsupportedTask, match="this pocket model only knows the six tasks: expand_queries"
        ) as declined:
            await ask(provider, any_call("What is the capital of France?"))

        assert provider._engine is None
    assert not declined.value.trips_breaker


@pytest.mark.parametrize("loaded", [False, True])
async def test_a_model_declines_input_of_another_world(transport: Transport, *, loaded: bool) -> None:
    """Before and after it is loaded; the words of the asker are not repeated."""
    async with engine(transport) as provider:
        if loaded:
            await provider.load()
        with pytest.raises(UnsupportedTask, match="only knows a small made-up world") as declined:
            await ask(provider, a_call("excellent sourdough photos"))

        assert (provider._engine is not None) is loaded
    assert "sourdough" not in str(declined.value)
    assert not declined.value.trips_breaker


async def test_a_copy_of_a_model_declines_as_the_shipped_one_does(transport: Transport, tmp_path: Path) -> None:
    """No word list beside it: the shipped one holds."""
    copy = tmp_path / "mine.gguf"
    copy.write_bytes((BUNDLED / "pocket-a.gguf").read_bytes())
    async with engine(transport, str(copy)) as provider:
        with pytest.raises(UnsupportedTask, match="made-up world"):
            await ask(provider, a_call("sourdough"))


async def test_broken_words_beside_a_model_are_told(transport: Transport, tmp_path: Path) -> None:
    """They do not make it answer everything."""
    copy = tmp_path / "mine.gguf"
    copy.write_bytes((BUNDLED / "pocket-a.gguf").read_bytes())
    words = copy.with_name(llamacpp.VOCABULARIES)
    words.write_text("{", encoding="utf-8")
    async with engine(transport, str(copy)) as provider:
        with pytest.raises(Failed, match=f"{words} does not hold the words that a model was taught: "):
            await ask(provider, a_call())


def _after(turns: list[Turn], call: Call) -> Call:
    return msgspec.structs.replace(call, prompt=msgspec.structs.replace(call.prompt, turns=tuple(turns)))


async def test_what_was_said_before_counts_too(transport: Transport) -> None:
    """By the asker: a model's own words and a client's system text do not."""
    said = [Turn("system", "Be brief."), Turn("user", "sharp clips"), Turn("assistant", "They are sharp.")]
    foreign = [*said, Turn("user", "Now of sourdough!")]
    async with engine(transport) as provider:
        text, _ = await ask(provider, _after(said, a_call("dull photos")))
        with pytest.raises(UnsupportedTask, match="made-up world"):
            await ask(provider, _after(foreign, a_call("dull photos")))

    assert text


@pytest.mark.parametrize(
    ("question", "answer", "declines"),
    [
        ("calm jazz videos", "calm jazz", False),
        ("Is 17 prime?", "calm jazz", True),
        ("calm jazz", "It is prime.", True),
    ],
)
async def test_a_judge_declines_what_it_cannot_read(
    transport: Transport, question: str, answer: str, *, declines: bool
) -> None:
    """The question, or an answer to it."""
    asked = {"question": question, "candidates": [{"id": "A", "text": answer}, {"id": "B", "text": "calm rock"}]}
    async with engine(transport) as provider:
        call = any_call(json.dumps(asked), task=JUDGING, input=asked, max_tokens=1)
        with pytest.raises(UnsupportedTask, match="made-up world") if declines else nullcontext():
            await ask(provider, call)


async def test_a_users_task_may_have_the_name_of_our_question_to_a_judge(transport: Transport) -> None:
    """Its input is any text."""
    async with engine(transport) as provider:
        with pytest.raises(UnsupportedTask, match="made-up world"):
            await ask(provider, any_call("hello", task=Task(name="judging", template="{{input}}")))


async def test_the_answer_of_every_task_has_its_shape(transport: Transport) -> None:
    """However little the model knows: compact, and valid but for what no grammar can say (uniqueItems)."""
    answers = {}
    async with engine(transport) as provider:
        for name, schema in SHAPES.items():
            answers[name], _ = await ask(provider, a_call(schema=schema, max_tokens=2000, temperature=1.0, seed=1))

    assert len(answers) == 6
    for name, text in answers.items():
        errors = [error.message for error in jsonschema_rs.validator_for(SHAPES[name]).iter_errors(json.loads(text))]
        assert (name, [error for error in errors if "non-unique" not in error]) == (name, [])
        assert not re.search(r"\s", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)), text


def test_an_order_of_a_few_ids_is_spelled_out() -> None:
    """A grammar knows no ``uniqueItems``: it lists the orders, so that a tiny model cannot name one id twice."""
    ranking = {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2, "maxItems": 2, "uniqueItems": True}

    spelled = grammar({"type": "object", "properties": {"ranking": ranking}})

    assert '"ranking":{"enum":[["a","b"],["b","a"]]}' in spelled


def test_an_order_of_many_ids_is_left_to_validation() -> None:
    """Six ids have 720 orders."""
    ranking = {"type": "array", "items": {"enum": list("abcdef")}, "minItems": 6, "maxItems": 6, "uniqueItems": True}

    assert "uniqueItems" in grammar({"type": "object", "properties": {"ranking": ranking}})


def test_a_grammar_is_compact_json_of_the_schema() -> None:
    """The whole schema, and nothing between tokens."""
    assert grammar({"type": "boolean"}) == (
        '%llguidance {}\nstart: %json {"type":"boolean","x-guidance":{"whitespace_flexible":false,"lenient":true}}'
    )


async def test_max_tokens_cut_the_answer_and_say_so(transport: Transport) -> None:
    """The finish tells a cut answer from a whole one."""
    async with engine(transport) as provider:
        text, end = await ask(provider, a_call(schema=LONG, max_tokens=7))

    assert end.finish == "length"
    assert end.usage.completion_tokens == 7
    assert text.startswith('{"text":"')


async def test_a_seed_makes_the_same_answer(transport: Transport) -> None:
    """Also when the prompt before it was another, and the engine has something of it in memory."""
    call = a_call("dull clips", temperature=0.9, seed=42, schema=LONG, max_tokens=40)
    async with engine(transport) as provider:
        first, _ = await ask(provider, call)
        await ask(provider, a_call("dull films", max_tokens=5))

        again, _ = await ask(provider, call)

    assert first == again


async def test_logprobs_come_with_alternatives(transport: Transport) -> None:
    """What the judge's one-letter verdict is read from."""
    async with (
        engine(transport) as provider,
        aclosing(provider.stream(a_call(max_tokens=1, top_logprobs=3))) as deltas,
    ):
        told = [one async for delta in deltas for one in delta.logprobs]

    assert len(told) == 1
    assert len(told[0].top) == 3
    assert all(logprob <= 0 for _, logprob in told[0].top)


async def test_a_prompt_that_does_not_fit_is_refused(transport: Transport) -> None:
    """Rejected: asking again cannot help, and the engine is well."""
    async with engine(transport, context=256) as provider:
        with pytest.raises(Rejected, match="exceeds the available context size"):
            await ask(provider, a_call("sharp photos " * 400))

        text, _ = await ask(provider, a_call(max_tokens=3))

    assert text


async def test_a_cancelled_answer_stops_within_100_ms(transport: Transport, wide: str) -> None:
    """The engine is idle again; best of five, since others use this machine too."""
    took = []
    async with engine(transport, wide, context=WIDE) as provider:
        for _ in range(5):
            task = await begun(provider, a_call(schema=LONG, max_tokens=WIDE - 100))
            assert any(await slots(provider))

            task.cancel()
            await asyncio.wait({task})

            took.append(await until_slots(provider, busy=False))
    assert min(took) < 0.1


async def test_a_call_cancelled_while_its_prompt_is_read_stops_within_100_ms(transport: Transport, wide: str) -> None:
    """Between two batches of the prompt, long before its end."""
    took = []
    async with engine(transport, wide, context=WIDE) as provider:
        await provider.load()
        for round_ in range(5):
            task = asyncio.create_task(ask(provider, a_call(f"{round_}" + " word" * 4000)))
            await until_slots(provider, busy=True)

            task.cancel()
            await asyncio.wait({task})

            took.append(await until_slots(provider, busy=False))
    assert min(took) < 0.1


async def test_a_killed_worker_fails_its_call_and_the_next_one_works(transport: Transport) -> None:
    """As an out-of-memory kill does; nobody has to start anything again."""
    async with engine(transport) as provider:
        task = await begun(provider, a_call(schema=LONG, max_tokens=1500))
        first = pid(provider)

        os.kill(first, signal.SIGKILL)
        await asyncio.wait({task})
        text, end = await ask(provider, a_call(max_tokens=3))

        assert isinstance(task.exception(), Failed)
        assert "the embedded engine died: killed by signal 9" in str(task.exception())
        assert text
        assert end.loading is not None
        assert pid(provider) != first
        assert not exists(first)


async def test_a_hung_worker_costs_its_call_the_time_and_is_replaced(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline holds, though the engine says nothing; the next call gets another one."""
    monkeypatch.setattr(llamacpp, "_HEALTH_TIMEOUT", 0.3)
    async with engine(transport) as provider:
        await provider.load()
        hung = await stop(provider)

        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await ask(provider, a_call())
        took = time.monotonic() - began
        text, _ = await ask(provider, a_call(max_tokens=3))

        assert took < 0.25
        assert text
        assert pid(provider) != hung
        assert not exists(hung)


async def test_a_call_left_early_does_not_cost_a_healthy_worker_its_life(transport: Transport) -> None:
    """Losing a race is ordinary."""
    async with engine(transport) as provider:
        await provider.load()
        first = pid(provider)
        for _ in range(3):
            task = await begun(provider, a_call(schema=LONG, max_tokens=1500))
            task.cancel()
            await asyncio.wait({task})
        await ask(provider, a_call(max_tokens=3))

        assert pid(provider) == first


async def test_calls_beyond_the_slots_wait_on_our_side(transport: Transport) -> None:
    """A caller that gives up while it waits never reaches the engine."""
    async with engine(transport, slots=1) as provider:
        first = await begun(provider, a_call(schema=LONG, max_tokens=1500))
        second = asyncio.create_task(ask(provider, a_call(max_tokens=3)))
        await asyncio.sleep(0.05)
        assert not second.done()

        first.cancel()
        text, _ = await second

    assert text


async def test_two_slots_answer_two_calls_at_once(transport: Transport) -> None:
    """Each with the whole context."""
    async with engine(transport, slots=2, context=512) as provider:
        first = await begun(provider, a_call(schema=LONG, max_tokens=480))
        text, _ = await ask(provider, a_call("sharp photos " * 60, max_tokens=3))
        at_once = not first.done()
        await first

    assert text
    assert at_once


async def test_callers_share_one_start(transport: Transport) -> None:
    """And one that gives up does not stop the loading for the others."""
    async with engine(transport, slots=3) as provider:
        impatient = asyncio.create_task(provider.load())
        others = [asyncio.create_task(ask(provider, a_call(max_tokens=2))) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        impatient.cancel()
        answers = await asyncio.gather(*others)

    assert all(text for text, _ in answers)


@pytest.mark.skipif(not (PROC / "self").exists(), reason="looks at processes through /proc")
async def test_the_key_is_not_on_the_command_line(transport: Transport) -> None:
    """Everybody on the machine can read that; and without the key the server answers nobody."""
    async with engine(transport) as provider:
        await provider.load()
        running = provider._engine
        assert running is not None
        command = await asyncio.to_thread((PROC / f"{pid(provider)}/cmdline").read_bytes)
        environment = await asyncio.to_thread((PROC / f"{pid(provider)}/environ").read_bytes)
        key, running.backend.headers = running.worker.key, {}

        reply = await running._transport.request(running.backend, "GET", "/slots")

    assert key.encode() not in command + environment
    assert b"pocket-a.gguf" in command
    assert reply.status == 401


async def test_closing_leaves_no_process(transport: Transport) -> None:
    """Twice is as good as once, and a closed provider starts nothing."""
    async with engine(transport) as provider:
        await provider.load()
        worker = pid(provider)

        await provider.aclose()
        await provider.aclose()

        assert not exists(worker)
        with pytest.raises(Unreachable, match="closed"):
            await provider.load()


async def test_closing_while_it_loads_leaves_no_process(transport: Transport) -> None:
    """The caller is told, and the half-started worker is gone."""
    async with engine(transport) as provider:
        loading = asyncio.create_task(provider.load())
        await asyncio.sleep(0.03)

        await provider.aclose()

        with pytest.raises(Unreachable, match="closed"):
            await loading


@pytest.mark.skipif(not (PROC / "self").exists(), reason="looks at processes through /proc")
def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    """Even with one that is killed and can clean up nothing."""
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent("""
            import asyncio
            from llm_pool.providers.llamacpp import LlamaCppProvider
            from llm_pool.providers.transport import Transport

            async def main():
                provider = LlamaCppProvider(name="p", model="pocket-a", transport=Transport())
                await provider.load()
                print(provider._engine.worker.pid, flush=True)
                await asyncio.sleep(60)

            asyncio.run(main())
        """)
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()

    until = time.monotonic() + 5
    while _runs(worker) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _runs(worker)


def _runs(process: int) -> bool:
    """It exists and is no zombie: whoever inherits an orphan may be slow to collect it."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return (PROC / f"{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def test_a_missing_model_says_how_to_get_it(transport: Transport, tmp_path: Path) -> None:
    """By name, and by source, which is ready to be pasted."""
    async with engine(transport, "hf:o/r/tiny.gguf", folder=tmp_path) as provider:
        state = await provider.state()
        with pytest.raises(Rejected) as refused:
            await provider.load()

    assert (state.condition, state.hint) == ("model_missing", "llm-pool models pull hf:o/r/tiny.gguf")
    assert refused.value.hint == state.hint


async def test_a_missing_engine_says_what_to_install(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is optional."""
    monkeypatch.setattr(llamacpp, "find_spec", lambda _: None)
    async with engine(transport) as provider:
        state = await provider.state()
        with pytest.raises(Unreachable, match="not installed"):
            await provider.load()

    assert (state.condition, state.hint) == ("unreachable", "pip install 'llm-pool[embedded]'")


@pytest.mark.parametrize(("size", "why"), [(900, "ends within the header"), (-64, "not within the file bounds")])
async def test_a_broken_model_is_told_in_the_engines_words(
    transport: Transport, tmp_path: Path, size: int, why: str
) -> None:
    """What our own look at the header misses, the engine finds; the state remembers it."""
    broken = tmp_path / "broken.gguf"
    whole = await asyncio.to_thread((BUNDLED / "pocket-a.gguf").read_bytes)
    await asyncio.to_thread(broken.write_bytes, whole[:size])
    async with engine(transport, str(broken)) as provider:
        with pytest.raises(Failed, match=why):
            await provider.load()

        state = await provider.state()

    assert state.condition == "failing"
    assert why in state.detail


async def test_state_of_a_hung_worker_comes_in_time(transport: Transport) -> None:
    """Within the two seconds the seam promises."""
    async with engine(transport) as provider:
        await provider.load()
        await stop(provider)

        began = time.monotonic()
        state = await provider.state()

        assert time.monotonic() - began < 2.0
        assert state.condition == "unreachable"


async def test_ctrl_c_is_the_parents_business(transport: Transport) -> None:
    """It reaches every process of a terminal; the worker stays until it is told to go."""
    async with engine(transport) as provider:
        await provider.load()
        os.kill(pid(provider), signal.SIGINT)

        text, end = await ask(provider, a_call(max_tokens=3))

    assert text
    assert end.loading is None


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.02])
async def test_a_worker_may_die_at_any_moment_of_a_call(transport: Transport, delay: float) -> None:
    """The caller sees one of our errors, or the answer that was quicker."""
    async with engine(transport) as provider:
        await provider.load()
        call = asyncio.create_task(ask(provider, a_call(schema=LONG, max_tokens=300)))
        await asyncio.sleep(delay)

        os.kill(pid(provider), signal.SIGKILL)
        (outcome,) = await asyncio.gather(call, return_exceptions=True)

        assert isinstance(outcome, ProviderError | tuple)
        assert (await ask(provider, a_call(max_tokens=2)))[0]


@pytest.mark.parametrize(
    ("mode", "error"), [("error:500", Failed), ("error:400", Rejected), ("busy:3", Busy), ("cut:3", Failed)]
)
async def test_an_engine_that_errs_and_lives_is_kept(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, mode: str, error: type[ProviderError]
) -> None:
    """A failed call is no reason to load the model again."""
    async with Upstream(["pocket-a"], flavor="llama-server") as upstream:

        async def start(*_: Any) -> NoWorker:
            return NoWorker(upstream.url)

        monkeypatch.setattr(llamacpp.Worker, "start", start)
        async with engine(transport) as provider:
            upstream.set_mode("*", mode)
            with pytest.raises(error):
                await ask(provider, a_call())
            upstream.set_mode("*", "ok")
            text, end = await ask(provider, a_call("sharp photos"))

    assert text == "pocket-a heard: sharp photos"
    assert end.loading is None
