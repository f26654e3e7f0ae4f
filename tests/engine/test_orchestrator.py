"""The order of steps for one query: admitted, remembered, decided by the deadline, or the last resort."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.cache.idempotency import IdempotencyStore
from llm_pool.cache.layer import CacheLayer
from llm_pool.cache.memory import MemoryCache
from llm_pool.cache.single_flight import SingleFlight
from llm_pool.config import parse
from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import (
    AllProvidersFailed,
    AllProvidersUnavailable,
    Busy,
    DeadlineExceeded,
    Failed,
    InvalidRequest,
    Unreachable,
    UnsupportedTask,
)
from llm_pool.core.events import AttemptStarted, RequestAnswered, RequestFailed, TextArrived
from llm_pool.core.messages import Query, StrategyName
from llm_pool.engine.orchestrator import Orchestrator
from llm_pool.engine.panel import Assignment
from llm_pool.ensemble.attempts import AttemptGroup
from llm_pool.ensemble.fastest import Fastest
from llm_pool.ensemble.voting import Voting
from llm_pool.qos.breaker import Refusal
from llm_pool.qos.budget import Budget
from llm_pool.qos.known_abilities import KnownAbilities
from llm_pool.reading.schemas import compiled
from llm_pool.tasks import TaskRegistry
from llm_pool.testing import FakeProvider, RecordingObserver, Reply, ScriptedProvider, a_panel

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from llm_pool.core.interfaces import Emit, Member
    from llm_pool.core.messages import Answer, Attempt, Call, Decision

pytestmark = pytest.mark.anyio

PROMPTS = Path(__file__).parents[2] / "prompts"
CONFIG = parse(
    """
[qos]
max_deadline_ms = 3000
[tasks.slow]
deadline_ms = 60000
[tasks.off]
enabled = false
[ensemble]
disabled = ["CONSENSUS"]
[[providers]]
name = "p"
driver = "ollama"
base_url = "http://127.0.0.1:9"
model = "m"
""",
    Path("llm-pool.toml"),
)


class Pool:
    """An orchestrator over fakes, with everything else real."""

    def __init__(
        self, *providers: FakeProvider, last_resort: FakeProvider | None = None, refused: Collection[str] = ()
    ) -> None:
        clock, self.seen = SystemClock(), RecordingObserver()
        self.abilities = KnownAbilities(clock)
        every = [*providers, *([last_resort] if last_resort else [])]
        fastest = Fastest(clock, Budget(), hedge_after=lambda m, c: 0.3, has_room=lambda m: True)
        self.orchestrator = Orchestrator(
            clock=clock,
            config=CONFIG,
            load_task=TaskRegistry(
                (PROMPTS,), {"slow": PROMPTS / "expand_queries.md", "off": PROMPTS / "expand_queries.md"}
            ).task,
            assignments=[
                Assignment(
                    member=member, tasks=("ask", "slow", "expand_queries"), last_resort=member.provider is last_resort
                )
                for member in a_panel(*every)
            ],
            strategies={StrategyName.FASTEST: fastest, StrategyName.VOTING: Voting(clock)}.__getitem__,
            last_resort=fastest,
            machines_are_stale=lambda: True,
            refresh_machines=_nothing_to_see,
            load_time=lambda member: 0.0,
            is_suspect=lambda member, call: False,
            breaker_refusal=lambda member, task: Refusal("open", 30.0) if member.name in refused else None,
            abilities=self.abilities,
            budget=Budget(),
            cache_layer=CacheLayer(
                IdempotencyStore(clock, ttl=900),
                MemoryCache(clock, max_bytes=1 << 20),
                SingleFlight(),
                key_fields=(),
                ttl=lambda t: 60.0,
            ),
            observers=[self.seen],
        )

    async def ask(self, prompt: str = "which colour?", **query: Any) -> Answer:
        return await self.orchestrator.infer(Query(prompt=prompt, **query))


async def _nothing_to_see() -> None:
    """No machine to look at."""


async def test_an_answer_tells_who_gave_it_and_how_long_it_took() -> None:
    """From admission to the answer, in seconds."""
    pool = Pool(ScriptedProvider("p", Reply("blue", ttft=0.2, duration=0.25, tokens=3)))

    answer = await pool.ask()

    assert (answer.content, answer.winner, answer.winner_model) == ("blue", "p", "p:mini")
    assert answer.duration == pytest.approx(0.25)
    assert answer.usage.completion_tokens == 3
    assert answer.request_id


async def test_a_task_answers_with_its_parsed_value() -> None:
    """``content`` is the JSON alone, ``json`` its value."""
    reply = 'Sure! ```json\n{"must_include":["a"],"optional":[],"negatives":[],"site_hints":[]}\n```'
    pool = Pool(ScriptedProvider("p", Reply(reply)))

    answer = await pool.ask("cats", task="expand_queries")

    assert answer.json == {"must_include": ["a"], "optional": [], "negatives": [], "site_hints": []}


async def test_a_hanging_provider_ends_at_the_deadline() -> None:
    """R1: the deadline is hard, and the error says who was asked and how it went."""
    provider = ScriptedProvider("p", Reply.hanging())
    pool = Pool(provider)
    began = asyncio.get_running_loop().time()

    with pytest.raises(DeadlineExceeded) as caught:
        await pool.ask(deadline=1.0)

    assert asyncio.get_running_loop().time() - began == pytest.approx(1.0, abs=0.05)
    assert [(a.provider, a.outcome) for a in caught.value.attempts] == [("p", "cancelled")]
    assert provider.in_flight == 0


async def test_one_that_failed_and_one_that_hangs_end_at_the_deadline() -> None:
    """Time ran out: the others' failures are told beside it."""
    pool = Pool(ScriptedProvider("a", Reply.failing(Failed("a", "no memory"))), ScriptedProvider("b", Reply.hanging()))

    with pytest.raises(DeadlineExceeded, match=r"no answer within 1000 ms.*\n  a: no memory"):
        await pool.ask(deadline=1.0)


async def test_what_a_provider_has_to_tell_is_in_the_decision() -> None:
    """Once, under its name."""
    pool = Pool(ScriptedProvider("p", Reply("blue", note="the prompt was cut")))

    answer = await pool.ask()

    assert answer.decision.notes == ("p: the prompt was cut",)


@pytest.mark.parametrize(
    ("task", "asked", "given"), [("ask", 9.0, 3.0), ("ask", 1.0, 1.0), ("slow", 9.0, 9.0), ("slow", None, 60.0)]
)
async def test_a_deadline_is_capped_by_the_configuration(task: str, asked: float | None, given: float) -> None:
    """A task's own deadline may be longer than the general cap: its operator said so."""
    pool = Pool(ScriptedProvider("p", Reply("x")))

    plan = await pool.orchestrator.plan(Query(prompt="q", task=task, deadline=asked))

    assert plan.call.deadline - plan.call.began == pytest.approx(given)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"prompt": "x" * 20_000, "task": "judge"}, "prompt"),
        ({"prompt": "  "}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"deadline": 0.0}, "deadline_ms"),
        ({"deadline": float("nan")}, "deadline_ms"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"task": "juge"}, "task"),
        ({"task": "off"}, "task"),
        ({"strategy": StrategyName.CONSENSUS}, "strategy"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_bad_query_names_its_field_and_asks_nobody(query: dict[str, Any], field: str) -> None:
    """And the observers hear of the refusal."""
    provider = ScriptedProvider("p", Reply("x"))
    pool = Pool(provider)

    with pytest.raises(InvalidRequest) as caught:
        await pool.ask(**{"prompt": "q", **query})

    assert caught.value.field == field
    assert provider.calls == []
    assert len(pool.seen.of(RequestFailed)) == 1


async def test_the_last_resort_is_not_asked_while_another_answers() -> None:
    """It costs nothing while all is well."""
    pocket = ScriptedProvider("pocket", Reply("pocket"))

    answer = await Pool(ScriptedProvider("p", Reply("blue")), last_resort=pocket).ask()

    assert (answer.content, answer.degraded) == ("blue", False)
    assert pocket.calls == []


@pytest.mark.parametrize("hangs", [False, True])
async def test_the_last_resort_answers_when_nobody_else_can(hangs: bool) -> None:
    """In time, marked as degraded, with the reason and the names of the missing."""
    trouble = Reply.hanging() if hangs else Reply.failing(Unreachable("p", "refused"))
    pool = Pool(ScriptedProvider("p", trouble), last_resort=ScriptedProvider("pocket", Reply("pocket", duration=0.2)))

    answer = await pool.ask(deadline=1.0)

    assert (answer.content, answer.degraded, answer.winner) == ("pocket", True, "pocket")
    assert "last resort" in answer.decision.degraded_reason
    assert answer.decision.missing == ("p",)
    assert [a.provider for a in answer.decision.attempts] == ["p", "pocket"]
    assert answer.duration <= 1.0


async def test_a_last_resort_decides_by_the_tasks_own_strategy() -> None:
    """Several of them vote where voting is asked for, and the answer is marked all the same."""
    pool = Pool(
        ScriptedProvider("p", Reply.failing(Failed("p", "broken"))),
        last_resort=ScriptedProvider("pocket", Reply("pocket")),
    )

    answer = await pool.ask(strategy=StrategyName.VOTING)

    assert (answer.strategy_used, answer.degraded) == (StrategyName.VOTING, True)


async def test_a_last_resort_that_was_taught_other_tasks_does_not_hide_that_time_ran_out() -> None:
    """Its refusal changes nothing about the error that the asker gets."""
    unable = ScriptedProvider("pocket", Reply.failing(UnsupportedTask("pocket", "this model only judges")))

    with pytest.raises(DeadlineExceeded):
        await Pool(ScriptedProvider("p", Reply.hanging()), last_resort=unable).ask()


async def test_the_last_resort_does_not_go_on_with_anothers_words() -> None:
    """Once half an answer has been read, an error is the honest end of it."""
    breaks = Reply("a b c", error=Failed("p", "cut"))
    pocket = ScriptedProvider("pocket", Reply("pocket"))
    pool, seen = Pool(ScriptedProvider("p", breaks), last_resort=pocket), RecordingObserver()

    with pytest.raises(AllProvidersFailed, match="cut"):
        await pool.orchestrator.infer(Query(prompt="q"), seen.on)

    assert "".join(e.text for e in seen.of(TextArrived) if e.committed) == "a b c"
    assert pocket.calls == []


async def test_without_the_entry_there_is_no_last_resort() -> None:
    """Removing it from the file removes the behaviour."""
    with pytest.raises(AllProvidersFailed, match="refused"):
        await Pool(ScriptedProvider("p", Reply.failing(Unreachable("p", "refused")))).ask()


async def test_equal_queries_share_an_answer() -> None:
    """In the air one run, afterwards the cache, with its age."""
    provider = ScriptedProvider("p", Reply("blue"))
    pool = Pool(provider)

    together = await asyncio.gather(*(pool.ask() for _ in range(20)))
    await asyncio.sleep(5)
    kept = await pool.ask()

    assert len(provider.calls) == 1
    assert len({answer.request_id for answer in together}) == 20
    assert (kept.from_cache, kept.age) == (True, pytest.approx(5))


async def test_no_cache_asks_anew() -> None:
    """And leaves no answer behind."""
    provider = ScriptedProvider("p", Reply("blue"))
    pool = Pool(provider)

    await pool.ask(no_cache=True)
    await pool.ask()

    assert len(provider.calls) == 2


async def test_errors_and_degraded_answers_are_never_kept() -> None:
    """R14: what was bad once is asked again."""
    provider = ScriptedProvider("p", [Reply.failing(Failed("p", "500")), Reply("blue")])
    pool = Pool(provider, last_resort=ScriptedProvider("pocket", Reply("pocket")))

    first, second = await pool.ask(), await pool.ask()

    assert (first.degraded, second.degraded) == (True, False)
    assert second.from_cache is False


@pytest.mark.parametrize("finish", ["length", "repetition"])
async def test_an_answer_that_was_cut_says_so_and_is_asked_for_anew(finish: Any) -> None:
    provider = ScriptedProvider("p", [Reply("blu", finish=finish), Reply("blue")])
    pool = Pool(provider)

    answers = [await pool.ask() for _ in range(3)]

    assert [(answer.content, answer.finish) for answer in answers] == [
        ("blu", finish),
        ("blue", "stop"),
        ("blue", "stop"),
    ]
    assert [answer.from_cache for answer in answers] == [False, False, True]


async def test_one_id_runs_once() -> None:
    """R13 through the orchestrator; another body under the id is an error."""
    provider = ScriptedProvider("p", Reply("blue"))
    pool = Pool(provider)

    answers = await asyncio.gather(*(pool.ask(request_id="r", no_cache=True) for _ in range(50)))

    assert len(provider.calls) == 1
    assert {answer.request_id for answer in answers} == {"r"}
    with pytest.raises(InvalidRequest, match="request_id"):
        await pool.ask("another", request_id="r")


async def test_a_reader_along_gets_the_committed_text() -> None:
    """What is streamed is the answer."""
    pool = Pool(ScriptedProvider("p", Reply("a b c d")))
    seen = RecordingObserver()

    answer = await pool.orchestrator.infer(Query(prompt="q"), seen.on)

    assert "".join(e.text for e in seen.of(TextArrived) if e.committed) == answer.content
    assert [type(event) for event in pool.seen.events][-1] is RequestAnswered


async def test_a_dark_provider_is_left_out_and_named() -> None:
    """Its breaker is open, another can answer."""
    refused, well = ScriptedProvider("refused", Reply("x")), ScriptedProvider("well", Reply("y"))

    answer = await Pool(refused, well, refused={"refused"}).ask()

    assert refused.calls == []
    assert "refused" in answer.decision.notes[-1]
    assert not answer.degraded


async def test_with_every_breaker_open_the_answer_is_degraded() -> None:
    """The last provider able is never left out, and the answer says what happened."""
    answer = await Pool(ScriptedProvider("p", Reply("x")), refused={"p"}).ask()

    assert answer.degraded
    assert "breaker" in answer.decision.degraded_reason


async def test_cancelling_the_query_cancels_the_calls() -> None:
    """R3: nothing runs for nobody."""
    provider = ScriptedProvider("p", Reply.hanging())
    pool = Pool(provider)
    asking = asyncio.create_task(pool.ask())
    await asyncio.sleep(0.5)

    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    assert (provider.in_flight, provider.cancelled) == (0, 1)
    assert len(pool.seen.of(AttemptStarted)) == 1


async def test_a_strangers_schema_is_compiled_for_its_request_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled for it is let go with the request."""
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "string", "pattern": r"^\p{L}{9}$"}}}
    monkeypatch.setattr(compiled, "_kept", compiled._Kept())
    pool = Pool(ScriptedProvider("p", Reply('{"n": "lighthous"}')))

    answer = await pool.ask(output_schema=schema)

    assert answer.json == {"n": "lighthous"}
    assert compiled.kept_bytes() == 0


class Overslept:
    """A strategy that is kept from deciding by a machine too busy to run it, with answers in hand."""

    def __init__(self, decider: Voting) -> None:
        self._decider = decider

    async def run(self, call: Call, panel: Sequence[Member], emit: Emit) -> Decision:
        async with AttemptGroup(emit) as attempt_group:
            for member in panel:
                attempt_group.start(member, call, why="vote")
            async for _ in attempt_group.as_completed():
                pass
        raise AssertionError

    def decide(self, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt]) -> Decision:
        return self._decider.decide(call, panel, attempts)


async def test_what_is_there_at_the_deadline_decides() -> None:
    """Two valid answers in hand are an answer, whoever is still out."""
    replies = [Reply("blue", duration=0.2), Reply("blue", duration=0.3), Reply.hanging()]
    pool = Pool(*(ScriptedProvider(f"p{at}", reply) for at, reply in enumerate(replies)))
    pool.orchestrator._strategies = lambda _name: Overslept(Voting(SystemClock()))

    answer = await pool.ask(deadline=1.0, strategy=StrategyName.VOTING)

    assert (answer.content, answer.degraded, answer.duration) == ("blue", True, pytest.approx(1.0))
    assert answer.decision.degraded_reason == "the deadline came before p2 answered"
    assert answer.decision.missing == ("p2",)


async def test_nothing_there_at_the_deadline_is_a_missed_one() -> None:
    """An answer that fails its schema is none."""
    pool = Pool(ScriptedProvider("p", Reply.hanging()))
    pool.orchestrator._strategies = lambda _name: Overslept(Voting(SystemClock()))

    with pytest.raises(DeadlineExceeded) as caught:
        await pool.ask(deadline=1.0, strategy=StrategyName.VOTING)

    assert caught.value.asked == pytest.approx(1.0)


async def test_the_last_resort_leaves_a_failover_half_of_what_remained() -> None:
    """The second would be done in time; it is not cut off for the sake of the third."""
    regular = ScriptedProvider("a", Reply.hanging()), ScriptedProvider("b", Reply("blue", ttft=0.2, duration=0.27))
    pocket = ScriptedProvider("pocket", Reply("pocket"))
    pool = Pool(*regular, last_resort=pocket)

    answer = await pool.ask(deadline=0.8)

    assert (answer.content, answer.degraded) == ("blue", False)
    assert answer.duration == pytest.approx(0.24 + 0.27)
    assert pocket.calls == []


async def test_where_every_breaker_refuses_the_error_says_when_to_ask_again() -> None:
    """They were asked all the same, and broke again: the first may be better in 30 s."""
    pool = Pool(
        ScriptedProvider("a", Reply.failing(Failed("a", "500"))),
        ScriptedProvider("b", Reply.failing(Failed("b", "500"))),
        refused={"a", "b"},
    )

    with pytest.raises(AllProvidersUnavailable) as raised:
        await pool.ask(strategy=StrategyName.VOTING)

    assert raised.value.retry_after == 30.0
    assert {attempt.provider for attempt in raised.value.attempts} == {"a", "b"}


async def test_where_one_breaker_is_closed_nobody_knows_when() -> None:
    """The one that broke just now may be better at once."""
    pool = Pool(*(ScriptedProvider(name, Reply.failing(Failed(name, "500"))) for name in "ab"), refused={"a"})

    with pytest.raises(AllProvidersFailed) as raised:
        await pool.ask(strategy=StrategyName.VOTING)

    assert not isinstance(raised.value, AllProvidersUnavailable)


async def test_where_all_ask_to_come_back_later_the_error_says_when() -> None:
    """The first of them."""
    busy = [Busy(name, "429", retry_after=after) for name, after in (("a", 7.0), ("b", 4.0))]
    pool = Pool(*(ScriptedProvider(error.provider, Reply.failing(error)) for error in busy))

    with pytest.raises(AllProvidersUnavailable) as raised:
        await pool.ask(strategy=StrategyName.VOTING)

    assert raised.value.retry_after == 4.0
