"""
The order of steps for one query, and nothing else.

::

    admit ─▶ remembered? ─▶ strategy and panel ─▶ run under the deadline ─▶ last resort? ─▶ answer
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec

from llm_pool.core.errors import (
    AllProvidersFailed,
    AllProvidersUnavailable,
    BreakerOpen,
    Busy,
    Cancelled,
    DeadlineExceeded,
    LlmPoolError,
    Loading,
    OutOfResources,
    OutOfTime,
    Overloaded,
    QueueFull,
    TimedOut,
    UnsupportedTask,
    UnsupportedTools,
)
from llm_pool.core.events import (
    AttemptEnded,
    AttemptStarted,
    ReasoningArrived,
    RequestAnswered,
    RequestFailed,
    TextArrived,
    ToolCallArrived,
)
from llm_pool.core.messages import Answer, StrategyName, Usage
from llm_pool.core.time_limit import TimeLimit
from llm_pool.engine.admission import admit, strategy_for
from llm_pool.engine.context_fit import PromptLength
from llm_pool.engine.cut_short import cut_short
from llm_pool.engine.offered_tools import needs, nobody_able
from llm_pool.engine.panel import Plan, panel_for
from llm_pool.ensemble.attempts import DECISION_MARGIN, JUDGED
from llm_pool.ensemble.fastest import FURTHER, shared_reserve
from llm_pool.reading.schemas import forget
from llm_pool.tasks.rendering import MAX_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from llm_pool.cache.layer import CacheLayer
    from llm_pool.config import Config
    from llm_pool.core.events import Event
    from llm_pool.core.interfaces import Clock, Emit, Member, Observer, Strategy
    from llm_pool.core.messages import Abilities, Attempt, Call, Decision, Query, Task
    from llm_pool.engine.panel import Assignment, Panel
    from llm_pool.qos.breaker import Refusal
    from llm_pool.qos.budget import Budget
    from llm_pool.qos.known_abilities import KnownAbilities

    class Admit(Protocol):
        """As ``admission.admit``."""

        def __call__(self, query: Query, task: Task, config: Config, *, now: float, stream: bool) -> Call:
            """The call that *query* asks for; raises InvalidRequest."""


ABILITIES = frozenset({"tools", "vision", "thinking"})
"""What a model may be able to do beside answering."""
REFRESH_SHARE = 0.1
"""Part of the deadline that looking at the machines may take: after that, what is known has to do."""
LAST_RESORT_SHARE = 0.4
"""
Part of the deadline kept for the last resort, so that it can still answer when the others hang. A failover among the
others draws on it: it has half of what remains at least.
"""
LATER = frozenset({Busy.kind, QueueFull.kind, Loading.kind, OutOfResources.kind, BreakerOpen.kind})
"""Kinds of failures that say when to ask again, not that something is broken."""
MAX_LAST_RESORT_TIME = 1.0
"""Seconds kept at most: an engine of our own starts and answers within that."""
SIGNS_OF_LIFE = (TextArrived, ReasoningArrived, ToolCallArrived)
"""Events by which an answer flows."""


class Orchestrator:
    """
    One pool of models that answers queries. Made and closed by ``app.open_app``.

    Args:
        clock: the time; deadlines are instants on it.
        config: limits and defaults.
        load_task: a task by its name; raises InvalidRequest for an unknown one.
        assignments: the providers, in the file's order.
        strategies: a strategy by its name.
        last_resort: FASTEST among providers of last resort.
        machines_are_stale: whether something that is known of the machines is due to be refreshed.
        refresh_machines: refreshes it.
        load_time: seconds until a member's model is in memory, as far as is known; 0 if it is.
        is_suspect: whether a member was silent the last few times, to the asker of a call.
        breaker_refusal: why a member's breaker refuses a task now, and for how long; None: it does not.
        abilities: what is known of what the models can do.
        budget: told of each request; hedges, retries and failovers draw on it.
        cache_layer: idempotency, cache and single flight around a run.
        observers: told of every event.
        admit: the call that a query asks for.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        config: Config,
        load_task: Callable[[str], Awaitable[Task]],
        assignments: Sequence[Assignment],
        strategies: Callable[[StrategyName], Strategy],
        last_resort: Strategy,
        machines_are_stale: Callable[[], bool],
        refresh_machines: Callable[[], Awaitable[None]],
        load_time: Callable[[Member], float],
        is_suspect: Callable[[Member, Call], bool],
        breaker_refusal: Callable[[Member, str], Refusal | None],
        abilities: KnownAbilities,
        budget: Budget,
        cache_layer: CacheLayer,
        observers: Sequence[Observer] = (),
        admit: Admit = admit,
    ) -> None:
        self._clock, self._config, self._load_task = clock, config, load_task
        self._assignments, self._strategies, self._last_resort = tuple(assignments), strategies, last_resort
        self._machines_are_stale, self._refresh_machines, self._budget = machines_are_stale, refresh_machines, budget
        self._load_time, self._is_suspect, self._breaker_refusal = load_time, is_suspect, breaker_refusal
        self._abilities, self._admit = abilities, admit
        self._cache_layer, self._observers = cache_layer, tuple(observers)

    async def infer(self, query: Query, emit: Emit | None = None) -> Answer:
        """
        Answer *query*.

        Args:
            query: what is asked; its deadline counts from now.
            emit: told of this request's events as they happen, streamed text among them.

        Raises:
            InvalidRequest: the query cannot be served as it stands.
            DeadlineExceeded, AllProvidersFailed, NoConsensus, Overloaded: no answer came of it.
        """
        began = self._clock.now()
        self._budget.note_request(began)
        plan: Plan | None = None
        try:
            plan = await self._plan(query, began, stream=emit is not None)
            answer = await self._cache_layer.answer(query, plan, lambda notify: self._run_plan(plan, notify), emit)
        except LlmPoolError as error:
            self._observe(RequestFailed(query, error, self._clock.now() - began))
            raise
        except asyncio.CancelledError:
            self._observe(RequestFailed(query, Cancelled("its asker"), self._clock.now() - began))
            raise
        finally:
            if plan is not None:
                _forget_schemas(query, plan.call)
        answer = _for_this_request(answer, plan.call, self._clock.now() - began)
        self._observe(RequestAnswered(query, answer))
        return answer

    async def plan(self, query: Query) -> Plan:
        """What ``infer`` would do for *query*. Asks no model; raises InvalidRequest."""
        return await self._plan(query, self._clock.now(), stream=False)

    async def _plan(self, query: Query, now: float, *, stream: bool) -> Plan:
        admitting = partial(self._admit, query, await self._load_task(query.task), self._config, now=now, stream=stream)
        takes_long = query.tools or query.output_schema or _size(query) > MAX_AT_ONCE  # schemas, a long conversation
        call = await asyncio.to_thread(admitting) if takes_long else admitting()
        needed, length = needs(call), PromptLength(call.prompt)
        asks_abilities = bool(needed) or length.matters
        if asks_abilities or self._machines_are_stale():
            await self._refresh(call, abilities=asks_abilities)
        panel = panel_for(
            query.task,
            self._assignments,
            load_time=self._load_time,
            is_suspect=lambda member: self._is_suspect(member, call),
            breaker_refuses=lambda member: self._breaker_refusal(member, query.task) is not None,
            bound_to=self._config.providers_for(query.task),
            requested=query.providers,
            limit=query.caps.providers,
            lacks=lambda member: _lacking(member, self._abilities.of(member.name), needed, length),
        )
        if not panel.regular and not panel.last_resort and (too_long := length.refusal(panel.unable, ())):
            raise too_long
        if panel.unable and not panel.regular and not panel.last_resort:
            raise nobody_able(panel.unable)
        return Plan(call, strategy_for(query, self._config), panel)

    async def _refresh(self, call: Call, *, abilities: bool) -> None:
        """Look at the machines where that is due, and ask for *abilities* too, within their share of the deadline."""
        with suppress(TimeoutError), TimeLimit(call.began + REFRESH_SHARE * (call.deadline - call.began)):
            await self._refresh_machines()
            if abilities:
                await self._abilities.refresh(assignment.member.name for assignment in self._assignments)

    async def capabilities(self, task: str, providers: Sequence[str]) -> frozenset[str]:
        """
        What one at least of those that *task* would be put to can do: ``completion`` and some of ``ABILITIES``.

        *providers*: the only ones that may be asked; empty: the task's panel. Raises InvalidRequest.
        """
        loaded = await self._load_task(task)
        panel = self._panel(task, providers)
        await self._abilities.refresh(member.name for member in panel.regular)
        able = {word for member in panel.regular for word in self._abilities.of(member.name).can} & ABILITIES
        has_own_shape = loaded.input_schema is not None or loaded.output_schema is not None
        return frozenset({"completion", *able} - ({"tools"} if has_own_shape else set()))

    def _panel(self, task: str, providers: Sequence[str]) -> Panel:
        """Who serves *task*, whatever state they are in."""
        return panel_for(
            task,
            self._assignments,
            load_time=lambda _: 0.0,
            is_suspect=lambda _: False,
            breaker_refuses=lambda _: False,
            bound_to=self._config.providers_for(task),
            requested=providers,
        )

    async def _decide(self, plan: Plan, log: _RunLog) -> Decision:
        """The strategy's decision by the deadline, or the last resort's."""
        call, panel = plan.call, plan.panel
        if not panel.last_resort:
            return await self._run(plan, self._strategies(plan.strategy), call, panel.regular, log)
        try:
            return await self._run(plan, self._strategies(plan.strategy), _less_reserve(call), panel.regular, log)
        except (AllProvidersFailed, DeadlineExceeded, Overloaded) as error:
            if log.committed_to:
                raise  # half an answer has been read; another's would follow it
            return await self._fall_back(plan, error, log)

    async def _fall_back(self, plan: Plan, error: LlmPoolError, log: _RunLog) -> Decision:
        """What the last resort decides after *error*; raises it, or AllProvidersFailed, if that decides nothing."""
        before = tuple(log.attempts)
        # Not the FASTEST of the regular ones: its budget may be spent on what has just failed.
        fastest = plan.strategy is StrategyName.FASTEST
        strategy = self._last_resort if fastest else self._strategies(plan.strategy)
        try:
            decision = await self._run(plan, strategy, plan.call, plan.panel.last_resort, log)
        except AllProvidersFailed as last:
            if isinstance(error, AllProvidersFailed) or not _all_unsupported(last.attempts[len(before) :]):
                raise
            raise error from last  # one that could not help anyway does not hide that time or room ran out
        return _degraded(decision, plan, error, before)

    async def _run(self, plan: Plan, strategy: Strategy, call: Call, panel: Sequence[Member], log: _RunLog) -> Decision:
        """
        Run *strategy* for *plan*; the one place where the deadline stands.

        Strategies end by themselves before it. One that does not, as the machine is busy, decides on what is there. An
        answer that flows (``Call.idle``) moves it on.
        """
        if not panel:
            raise AllProvidersFailed(call.task.name)
        before, limit = len(log.attempts), TimeLimit(call.deadline)

        def note(event: Event) -> None:
            if call.idle is not None and isinstance(event, SIGNS_OF_LIFE):
                limit.move(min(max(call.deadline, self._clock.now() + call.idle + DECISION_MARGIN), call.latest))
            elif call.reserve and isinstance(event, AttemptStarted) and event.why in FURTHER:
                limit.move(shared_reserve(call, self._clock.now()).deadline)
            log.on(event)

        def unfinished() -> Decision | None:
            return cut_short(call, log.attempts[before:], plan.strategy, committed_to=log.committed_to)

        try:
            with limit:
                moves = call.idle is not None or call.reserve
                return await strategy.run(call, panel, note if moves else log.on)
        except TimeoutError:
            return unfinished() or _decided_at_deadline(strategy, call, panel, log.attempts, log.candidates(before))
        except AllProvidersFailed as error:
            if (decision := unfinished()) is not None:
                return decision
            raise _failure_of(call, log.attempts, self._clock.now()) from error

    async def _run_plan(self, plan: Plan, notify: Emit) -> Answer:
        try:
            decision = await self._decide(plan, _RunLog(notify, self._observe))
        except AllProvidersFailed as error:
            raise self._explained(error, plan) from error.__cause__
        decision = _with_attempt_notes(_with_panel_notes(decision, plan.panel))
        return Answer(
            request_id=plan.call.request_id,
            task=plan.call.task.name,
            content=decision.reading.content,
            json=decision.reading.value,
            winner=decision.winner,
            winner_model=decision.model,
            strategy_used=decision.used,
            decision=decision,
            usage=_usage(decision.attempts),
            duration=self._clock.now() - plan.call.began,
            degraded=decision.degraded,
            finish=decision.finish,
            tool_calls=decision.reading.tool_calls,
        )

    def _explained(self, error: AllProvidersFailed, plan: Plan) -> LlmPoolError:
        """*error*, or one that says better why; never raised from itself: that is a cycle of all its frames."""
        too_long = PromptLength(plan.call.prompt).refusal(plan.panel.unable, error.attempts)
        return too_long or self._with_return(error, plan)

    def _with_return(self, error: AllProvidersFailed, plan: Plan) -> AllProvidersFailed:
        """*error*, saying when to ask again where the breaker of everybody who could be asked knows that."""
        members = (*plan.panel.regular, *plan.panel.last_resort)
        refusals = [self._breaker_refusal(member, plan.call.task.name) for member in members]
        waits = [refusal.retry_after for refusal in refusals if refusal is not None]
        if isinstance(error, AllProvidersUnavailable) or not waits or len(waits) < len(members):
            return error
        return AllProvidersUnavailable(error.task, error.attempts, min(waits))

    def _observe(self, event: Event) -> None:
        for observer in self._observers:
            observer.on(event)


class _RunLog:
    """Where the events of one run go: to its asker, to the observers, and the attempts into a list."""

    def __init__(self, *listeners: Emit) -> None:
        self._listeners = listeners
        self.attempts: list[Attempt] = []
        self.committed_to = ""

    def candidates(self, since: int) -> list[Attempt]:
        """The attempts after the first *since* that answered the question itself, as a judge's do not."""
        return [attempt for attempt in self.attempts[since:] if attempt.why != JUDGED]

    def on(self, event: Event) -> None:
        if isinstance(event, TextArrived | ToolCallArrived):
            if event.committed:
                self.committed_to = event.provider
        elif isinstance(event, AttemptEnded):
            self.attempts.append(event.attempt)
        for listener in self._listeners:
            listener(event)


def _decided_at_deadline(
    strategy: Strategy, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt], candidates: Sequence[Attempt]
) -> Decision:
    """What *strategy* makes of the valid *candidates*, now that nobody is waited for; raises DeadlineExceeded."""
    valid = {attempt.provider for attempt in candidates if attempt.reading is not None}
    if not valid:
        raise DeadlineExceeded(_span(call), attempts, cut=call.deadline_cut)
    decision = strategy.decide(call, panel, candidates)
    missing = tuple(member.name for member in panel if member.name not in valid)
    if not missing or decision.used is StrategyName.FASTEST:
        return decision
    reason = f"the deadline came before {', '.join(missing)} answered"
    return msgspec.structs.replace(decision, degraded=True, degraded_reason=reason, missing=missing)


def _span(call: Call) -> float:
    """Seconds the asker gave."""
    return call.deadline + call.reserve - call.began


def _failure_of(call: Call, attempts: Sequence[Attempt], now: float) -> LlmPoolError:
    """
    The error for *attempts* of which none is usable: out of time, no room, or truly failed.

    One that ran out of time might have answered, whatever became of the others, and so might one that was silent to the
    end.
    """
    kinds = {attempt.error_kind for attempt in attempts}
    silent = TimedOut.kind in kinds and now >= call.deadline - DECISION_MARGIN
    if silent or OutOfTime.kind in kinds:
        return DeadlineExceeded(_span(call), attempts, cut=call.deadline_cut)
    if kinds == {QueueFull.kind}:
        soonest = min((a.retry_after for a in attempts if a.retry_after is not None), default=1.0)
        return Overloaded(f"task '{call.task.name}'", soonest)
    if OutOfResources.kind in kinds and kinds <= {OutOfResources.kind, QueueFull.kind, BreakerOpen.kind}:
        return Overloaded("llm-pool, out of file descriptors,", 1.0)
    if kinds and kinds <= {OutOfTime.kind, Loading.kind, QueueFull.kind}:
        return DeadlineExceeded(_span(call), attempts, cut=call.deadline_cut)
    if kinds and kinds <= LATER and (waits := [a.retry_after for a in attempts if a.retry_after is not None]):
        return AllProvidersUnavailable(call.task.name, attempts, min(waits))
    return AllProvidersFailed(call.task.name, attempts)


def _forget_schemas(query: Query, call: Call) -> None:
    """Keep none of the compiled schemas that came with *query*."""
    if query.output_schema is not None:
        forget(call.schema)
    for tool in call.tools:
        forget(tool.parameters)


def _all_unsupported(attempts: Sequence[Attempt]) -> bool:
    return all(attempt.error_kind in {UnsupportedTask.kind, UnsupportedTools.kind} for attempt in attempts)


def _less_reserve(call: Call) -> Call:
    reserve = min(_span(call) * LAST_RESORT_SHARE, MAX_LAST_RESORT_TIME)
    return msgspec.structs.replace(call, deadline=call.deadline - reserve, reserve=reserve)


def _degraded(decision: Decision, plan: Plan, error: LlmPoolError, before: Sequence[Attempt]) -> Decision:
    """The last resort's decision, saying so: the strategy asked for, the attempts before it, and why."""
    last = (msgspec.structs.replace(attempt, why="last_resort") for attempt in decision.attempts)
    return msgspec.structs.replace(
        decision,
        asked=plan.strategy,
        attempts=(*before, *last),
        degraded=True,
        degraded_reason=f"last resort: {_failure_summary(error, before)}",
        missing=tuple(member.name for member in plan.panel.regular),
    )


def _failure_summary(error: LlmPoolError, attempts: Sequence[Attempt]) -> str:
    """Why the others did not answer, on one line: each one's own trouble, or what they had in common."""
    troubles = [f"{a.provider}: {a.error.splitlines()[0]}" for a in attempts if a.error]
    return "; ".join(troubles) or str(error).splitlines()[0]


def _with_panel_notes(decision: Decision, panel: Panel) -> Decision:
    """*decision*, saying what suspicions and breakers did to its panel."""
    if panel.is_as_configured:
        return decision
    suspects = [member.name for member in panel.regular if member.suspect]
    if 0 < len(suspects) < len(panel.regular):
        note = f"asked last, as it was silent the last few times: {', '.join(suspects)}"
        decision = msgspec.structs.replace(decision, notes=(*decision.notes, note))
    if panel.unable:
        lacking = ", ".join(f"{name} ({', '.join(sorted(words))})" for name, words in panel.unable.items())
        decision = msgspec.structs.replace(decision, notes=(*decision.notes, f"not asked, as unable: {lacking}"))
    if panel.skipped:
        note = f"not asked, their breaker is open: {', '.join(panel.skipped)}"
        return msgspec.structs.replace(decision, notes=(*decision.notes, note))
    if panel.is_forced and not decision.degraded:
        reason = "every provider's breaker is open; they were asked all the same"
        return msgspec.structs.replace(decision, degraded=True, degraded_reason=reason)
    return decision


def _size(query: Query) -> int:
    """Characters of the conversation."""
    return len(query.prompt) + (sum(len(turn.text) for turn in query.turns) if query.turns else 0)


def _lacking(member: Member, abilities: Abilities, needed: frozenset[str], length: PromptLength) -> frozenset[str]:
    """What a question of *length* that needs what is *needed* asks of *member* in vain."""
    return needed & abilities.cannot | length.lacks(member, abilities)


def _for_this_request(answer: Answer, call: Call, duration: float) -> Answer:
    """*answer*, which may be another's, as this request's own."""
    if call.deadline_cut:
        notes = (*answer.decision.notes, call.deadline_cut)
        answer = msgspec.structs.replace(answer, decision=msgspec.structs.replace(answer.decision, notes=notes))
    return msgspec.structs.replace(answer, request_id=call.request_id, duration=duration)


def _with_attempt_notes(decision: Decision) -> Decision:
    """*decision* with what its attempts have to tell, each thing once."""
    told = {f"{attempt.provider}: {attempt.note}": None for attempt in decision.attempts if attempt.note}
    return msgspec.structs.replace(decision, notes=(*decision.notes, *told)) if told else decision


def _usage(attempts: Sequence[Attempt]) -> Usage:
    """What the whole panel spent; None where nobody counted."""
    if len(attempts) == 1:
        return attempts[0].usage
    prompt = [a.usage.prompt_tokens for a in attempts if a.usage.prompt_tokens is not None]
    completion = [a.usage.completion_tokens for a in attempts if a.usage.completion_tokens is not None]
    return Usage(sum(prompt) if prompt else None, sum(completion) if completion else None)
