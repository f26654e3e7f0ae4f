"""
The order of steps for one query, and nothing else.

::

    admit ─▶ remembered? ─▶ strategy and panel ─▶ run under the deadline ─▶ last resort? ─▶ answer
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from llm_pool.admission import admit, strategy_for
from llm_pool.errors import AllProvidersFailed, Cancelled, DeadlineExceeded, LlmPoolError, Overloaded, Untaught
from llm_pool.messages import Answer, Answered, AttemptEnded, Refused, StrategyName, TextArrived, Usage
from llm_pool.panel import Plan, panel_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from llm_pool.budget import Budget
    from llm_pool.cache.remembering import Remembering
    from llm_pool.config import Config
    from llm_pool.interfaces import Clock, Emit, Observer, Strategy
    from llm_pool.messages import Attempt, Call, Decision, Event, Member, Query, Task
    from llm_pool.panel import Panel, Seat

LOOKING_SHARE = 0.1
"""Part of the deadline that looking at the machines may take: after that, what is known has to do."""
LAST_RESORT_SHARE = 0.4
"""Part of the deadline kept for the last resort, so that it can still answer when the others hang."""
LAST_RESORT_AT_MOST = 1.0
"""Seconds kept at most: an engine of our own starts and answers within that."""


class Orchestrator:
    """
    One pool of models that answers queries. Made and closed by ``app.open_app``.

    Args:
        clock: the time; deadlines are instants on it.
        config: limits and defaults.
        load_task: a task by its name; raises InvalidRequest for an unknown one.
        seats: the providers, in the file's order.
        strategies: a strategy by its name.
        last_resort: FASTEST among providers of last resort.
        look: refreshes what is known of the machines, where that is due.
        is_loaded: whether a member's model is in memory, as far as is known.
        is_dark: whether a member's breaker refuses a task now.
        budget: told of each request; hedges, retries and failovers draw on it.
        remembering: idempotency, cache and single flight around a run.
        observers: told of every event.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        config: Config,
        load_task: Callable[[str], Awaitable[Task]],
        seats: Sequence[Seat],
        strategies: Callable[[StrategyName], Strategy],
        last_resort: Strategy,
        look: Callable[[], Awaitable[None]],
        is_loaded: Callable[[Member], bool],
        is_dark: Callable[[Member, str], bool],
        budget: Budget,
        remembering: Remembering,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._clock, self._config, self._load_task = clock, config, load_task
        self._seats, self._strategies, self._last_resort = tuple(seats), strategies, last_resort
        self._look, self._is_loaded, self._is_dark, self._budget = look, is_loaded, is_dark, budget
        self._remembering, self._observers = remembering, tuple(observers)

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
        try:
            plan = await self._plan(query, began, stream=emit is not None)
            answer = await self._remembering.answer(query, plan, lambda tell: self._make(plan, tell), emit)
        except LlmPoolError as error:
            self._observe(Refused(query, error, self._clock.now() - began))
            raise
        except asyncio.CancelledError:
            self._observe(Refused(query, Cancelled("its asker"), self._clock.now() - began))
            raise
        answer = msgspec.structs.replace(answer, request_id=plan.call.request_id, duration=self._clock.now() - began)
        self._observe(Answered(query, answer))
        return answer

    async def plan(self, query: Query) -> Plan:
        """What ``infer`` would do for *query*. Asks no model; raises InvalidRequest."""
        return await self._plan(query, self._clock.now(), stream=False)

    async def _plan(self, query: Query, now: float, *, stream: bool) -> Plan:
        call = admit(query, await self._load_task(query.task), self._config, now=now, stream=stream)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(call.began + LOOKING_SHARE * (call.deadline - call.began)):
                await self._look()
        panel = panel_for(
            query.task,
            self._seats,
            is_loaded=self._is_loaded,
            is_dark=lambda member: self._is_dark(member, query.task),
            only=self._config.providers_for(query.task),
            named=query.providers,
            most=query.caps.providers,
        )
        return Plan(call, strategy_for(query, self._config), panel)

    async def _decide(self, plan: Plan, log: _Log) -> Decision:
        """The strategy's decision by the deadline, or the last resort's."""
        call, panel = plan.call, plan.panel
        if not panel.last_resort:
            return await self._run(self._strategies(plan.strategy), call, panel.regular, log)
        try:
            return await self._run(self._strategies(plan.strategy), _without_reserve(call), panel.regular, log)
        except (AllProvidersFailed, DeadlineExceeded, Overloaded) as error:
            if log.committed:
                raise  # half an answer has been read; another's would follow it
            return await self._fall_back(plan, error, log)

    async def _fall_back(self, plan: Plan, error: LlmPoolError, log: _Log) -> Decision:
        """What the last resort decides after *error*; raises it, or AllProvidersFailed, if that decides nothing."""
        before = tuple(log.attempts)
        # Not the FASTEST of the regular ones: its budget may be spent on what has just failed.
        fastest = plan.strategy is StrategyName.FASTEST
        strategy = self._last_resort if fastest else self._strategies(plan.strategy)
        try:
            decision = await self._run(strategy, plan.call, plan.panel.last_resort, log)
        except AllProvidersFailed as last:
            if isinstance(error, AllProvidersFailed) or not _were_untaught(last.attempts[len(before) :]):
                raise
            raise error from last  # one that could not help anyway does not hide that time or room ran out
        return _degraded(decision, plan, error, before)

    async def _run(self, strategy: Strategy, call: Call, panel: Sequence[Member], log: _Log) -> Decision:
        """Run *strategy*; the one place where the deadline stands."""
        if not panel:
            raise AllProvidersFailed(call.task.name)
        try:
            async with asyncio.timeout_at(call.deadline):
                return await strategy.run(call, panel, log.on)
        except TimeoutError:
            raise DeadlineExceeded(call.deadline - call.began, log.attempts) from None
        except AllProvidersFailed as error:
            raise _what_it_was(call, log.attempts) from error

    async def _make(self, plan: Plan, tell: Emit) -> Answer:
        decision = _marked(await self._decide(plan, _Log(tell, self._observe)), plan.panel)
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
        )

    def _observe(self, event: Event) -> None:
        for observer in self._observers:
            observer.on(event)


class _Log:
    """Where the events of one run go: to its asker, to the observers, and the attempts into a list."""

    def __init__(self, *listeners: Emit) -> None:
        self._listeners = listeners
        self.attempts: list[Attempt] = []
        self.committed = False

    def on(self, event: Event) -> None:
        if isinstance(event, AttemptEnded):
            self.attempts.append(event.attempt)
        elif isinstance(event, TextArrived) and event.committed:
            self.committed = True
        for listener in self._listeners:
            listener(event)


def _what_it_was(call: Call, attempts: Sequence[Attempt]) -> LlmPoolError:
    """The error for *attempts* of which none is usable: out of time, no room, or truly failed."""
    kinds = {attempt.error_kind for attempt in attempts}
    if kinds == {"out_of_time"}:
        return DeadlineExceeded(call.deadline - call.began, attempts)
    if kinds == {"queue_full"}:
        soonest = min((a.retry_after for a in attempts if a.retry_after is not None), default=1.0)
        return Overloaded(f"task '{call.task.name}'", soonest)
    return AllProvidersFailed(call.task.name, attempts)


def _were_untaught(attempts: Sequence[Attempt]) -> bool:
    return all(attempt.error_kind == Untaught.kind for attempt in attempts)


def _without_reserve(call: Call) -> Call:
    span = call.deadline - call.began
    reserve = min(span * LAST_RESORT_SHARE, LAST_RESORT_AT_MOST)
    return msgspec.structs.replace(call, deadline=call.deadline - reserve)


def _degraded(decision: Decision, plan: Plan, error: LlmPoolError, before: Sequence[Attempt]) -> Decision:
    """The last resort's decision, saying so: the strategy asked for, the attempts before it, and why."""
    last = (msgspec.structs.replace(attempt, why="last_resort") for attempt in decision.attempts)
    return msgspec.structs.replace(
        decision,
        asked=plan.strategy,
        attempts=(*before, *last),
        degraded=True,
        degraded_reason=f"last resort: {_why_not(error, before)}",
        missing=tuple(member.name for member in plan.panel.regular),
    )


def _why_not(error: LlmPoolError, attempts: Sequence[Attempt]) -> str:
    """Why the others did not answer, on one line: each one's own trouble, or what they had in common."""
    troubles = [f"{a.provider}: {a.error.splitlines()[0]}" for a in attempts if a.error]
    return "; ".join(troubles) or str(error).splitlines()[0]


def _marked(decision: Decision, panel: Panel) -> Decision:
    """*decision*, saying what the breakers did to its panel."""
    if panel.skipped:
        note = f"not asked, their breaker is open: {', '.join(panel.skipped)}"
        return msgspec.structs.replace(decision, notes=(*decision.notes, note))
    if panel.is_forced and not decision.degraded:
        reason = "every provider's breaker is open; they were asked all the same"
        return msgspec.structs.replace(decision, degraded=True, degraded_reason=reason)
    return decision


def _usage(attempts: Sequence[Attempt]) -> Usage:
    """What the whole panel spent; None where nobody counted."""
    prompt = [a.usage.prompt_tokens for a in attempts if a.usage.prompt_tokens is not None]
    completion = [a.usage.completion_tokens for a in attempts if a.usage.completion_tokens is not None]
    return Usage(sum(prompt) if prompt else None, sum(completion) if completion else None)
