"""
FASTEST: the first valid answer wins; a late or failed first call is helped out by the next provider.

::

    start the first ──▶ valid answer ──────────────────────────────▶ it wins, the rest is cancelled
                  ├──▶ failed or invalid ──▶ start the next at once
                  └──▶ silent for the hedge delay ──▶ start the next beside it, where a machine has room

An answer that its length cut off ends the race where its asker takes it: another model has no more tokens.

Silence is waited for, not the answer: a long answer is not a late one, and one that stops half-way is (``silence``).
Hedges and failovers draw on one budget shared with retries, so that trouble upstream never multiplies load; the first
call is free, and so is one that replaces a provider that was silent the last few times, or never answered at all, by
one that is well: that is no speculation. A hedge that cannot be paid is tried again soon: the budget, or what is known
of the others, may be different then. A model that thinks says something.

Members of one group share a machine, and a second call there slows the first down, so a group is hedged into only while
it has a free slot, or one that a silent call gave back. What replaces a provider that is silent takes its turn among
those who wait for such a slot.

A stream that is read along belongs to the first who writes, white space apart: what was read cannot be taken back, nor
continued by another without saying what the first did not mean. One that was late since its last good answer is shown
from its second piece on, where others could be asked: should it stop after the first, as before, nobody has read that.

A call kept from the last resort (``Call.reserve``) is not kept from a failover: that has half of what remains at least.

The first of the file that is no suspect is asked whenever its model can be had in time, which may mean that it is
loaded for this request. Where it cannot, it is loaded behind the scenes, and the next one whose model is there is
asked.

Sources: Dean & Barroso, The Tail at Scale, CACM 56(2), 2013 (hedge after the 95th percentile, about 5 % more
load); gRPC proposal A6 (a failure sends the next attempt at once, one budget, the deadline covers the chain).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.errors import AllProvidersFailed
from llm_pool.core.events import AttemptEnded, TextArrived, ToolCallArrived
from llm_pool.core.messages import Decision, StrategyName
from llm_pool.ensemble.attempts import AttemptGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from llm_pool.core.events import Event
    from llm_pool.core.interfaces import Clock, Emit, Member
    from llm_pool.core.messages import Attempt, Call
    from llm_pool.qos.budget import Budget


LOAD_SHARE = 0.5
"""Part of the time left that the preferred model's load may take: it has to answer too."""


def by_readiness(panel: Sequence[Member], left: float) -> list[Member]:
    """
    The panel in the order to ask: as configured, behind them those whose model cannot be had in time, suspects last.

    Args:
        panel: any order.
        left: seconds to the deadline.
    """
    return sorted(panel, key=lambda member: (member.suspect, member.load_time > LOAD_SHARE * left, member.rank))


def decide(call: Call, attempts: Sequence[Attempt], *, notes: Sequence[str] = ()) -> Decision:
    """
    The first valid answer among *attempts*.

    Raises:
        AllProvidersFailed: none is valid.
    """
    valid = [attempt for attempt in attempts if attempt.reading is not None]
    if not valid:
        raise AllProvidersFailed(call.task.name, attempts)
    winner = min(valid, key=lambda attempt: attempt.started + attempt.duration)
    assert winner.reading is not None
    return Decision(
        asked=StrategyName.FASTEST,
        used=StrategyName.FASTEST,
        winner=winner.provider,
        model=winner.model,
        reading=winner.reading,
        reason=f"first valid answer, after {winner.started + winner.duration:.2f} s",
        attempts=tuple(attempts),
        notes=tuple(notes),
    )


FURTHER = frozenset({"hedge", "failover"})
"""Why these attempts are started, and no first one."""
LOOKS = 4
"""Looks in each hedge delay for a machine with room, or for what pays for a hedge, while there is none."""


def never_doubts(_member: Member, _call: Call) -> bool:
    """Everybody is read along from the first word on."""
    return False


def never_replaces(_late: Member, _other: Member, _call: Call) -> bool:
    """Every further call is paid for."""
    return False


class Fastest:
    """
    The hedged race.

    Args:
        clock: the time.
        budget: shared with retries; pays for every call after the first.
        hedge_after: seconds of silence after which *member* counts as late; None never hedges.
        has_room: whether the member's group has a slot for it now, and its model in memory.
        has_turn: whether its group has a slot that a silent call gave back, for which it may wait its turn.
        load_behind: begins to load a model that could not be had in time, for the requests to come.
        replaces: whether asking the second member in the place of the first, which is late or has failed, is no
            speculation: the first was silent the last few times or never answered, and the second is well.
        is_doubtful: whether a member was late since its last good answer.
    """

    def __init__(
        self,
        clock: Clock,
        budget: Budget,
        *,
        hedge_after: Callable[[Member, Call], float | None],
        has_room: Callable[[Member], bool],
        has_turn: Callable[[Member], bool] = lambda _: False,
        load_behind: Callable[[Member], None] = lambda _: None,
        replaces: Callable[[Member, Member, Call], bool] = never_replaces,
        is_doubtful: Callable[[Member, Call], bool] = never_doubts,
    ) -> None:
        self._clock, self._budget, self._load_behind = clock, budget, load_behind
        self._hedge_after, self._has_room, self._replaces = hedge_after, has_room, replaces
        self._has_turn, self._is_doubtful = has_turn, is_doubtful

    async def run(self, call: Call, panel: Sequence[Member], emit: Emit) -> Decision:
        """Race *panel*; raises AllProvidersFailed."""
        order = by_readiness(panel, call.deadline - self._clock.now())
        try:
            doubtful = {member.name for member in order if len(order) > 1 and self._is_doubtful(member, call)}
            return await self._race(_Race(call, order, emit, doubtful))
        finally:
            preferred = min(panel, key=lambda member: (member.suspect, member.rank))
            if preferred is not order[0]:  # not before: its load may put out the model that has just answered
                self._load_behind(preferred)

    async def _race(self, race: _Race) -> Decision:
        async with race.attempt_group:
            if len(race.waiting) == 1:  # nobody to race against: no task of its own
                await race.run_alone("primary")
                return decide(race.call, race.attempt_group.attempts)
            race.start(race.waiting[0], "primary", self._clock.now())
            while True:
                attempt = await race.attempt_group.next(self._hedge_at(race))
                if attempt is not None and (attempt.outcome == "ok" or attempt.cut):
                    break
                if attempt is not None:
                    self._fail_over(race, attempt)
                elif race.attempt_group.running:
                    self._hedge(race)
                else:
                    break
        return decide(race.call, race.attempt_group.attempts, notes=race.notes)

    def decide(self, call: Call, _panel: Sequence[Member], attempts: Sequence[Attempt]) -> Decision:
        """The first valid answer of attempts made for another strategy."""
        return decide(call, attempts)

    def _hedge_at(self, race: _Race) -> float | None:
        """The instant to start another call at, if nobody says a word until then; None: nobody left, or no hedging."""
        delay = self._hedge_after(race.latest, race.call)
        if delay is None or not race.waiting or race.committed_to:
            return None
        silences = race.attempt_group.silences.values()
        return max(race.not_before, *(silence.late_at(delay) for silence in silences)) if silences else None

    def _hedge(self, race: _Race) -> None:
        now, at, delay = self._clock.now(), self._hedge_at(race), self._hedge_after(race.latest, race.call)
        if at is None or delay is None or now < at:
            return  # somebody has said a word meanwhile
        hedge = next((m for m in race.waiting if self._may_start(race, m)), None)
        if hedge is None:
            race.not_before = now + delay / LOOKS
        elif self._replaces_all(race, hedge):
            race.start(hedge, "failover", now)
        elif self._budget.spend(now):
            race.start(hedge, "hedge", now)
        else:
            race.not_before = now + min(delay, race.call.deadline - now) / LOOKS
            race.note("hedge budget exhausted: no further call beside the late one")

    def _may_start(self, race: _Race, member: Member) -> bool:
        """Whether there is a place for *member* beside those that run."""
        if member.group not in race.groups or self._has_room(member):
            return True
        return self._has_turn(member) and self._replaces_all(race, member)

    def _replaces_all(self, race: _Race, member: Member) -> bool:
        return all(self._replaces(late, member, race.call) for late in race.running)

    def _fail_over(self, race: _Race, failed: Attempt) -> None:
        if not race.waiting or race.committed_to:
            return
        now, following = self._clock.now(), race.waiting[0]
        free = race.nothing_sent or self._replaces(race.member(failed.provider), following, race.call)
        if free or self._budget.spend(now):
            race.start(following, "failover", now)
        else:
            race.give_up("retry budget exhausted: no failover")


def shared_reserve(call: Call, now: float) -> Call:
    """*call* for a failover at *now*: with half of the time to the end at least, the last resort's reserve included."""
    if not call.reserve:
        return call
    end = call.deadline + call.reserve
    deadline = max(call.deadline, now + (end - now) / 2)
    return msgspec.structs.replace(call, deadline=deadline, reserve=end - deadline)


class _Race:
    """Where one race stands."""

    def __init__(self, call: Call, order: Sequence[Member], emit: Emit, doubtful: Collection[str]) -> None:
        self.call, self.waiting, self._emit = call, list(order), emit
        self._doubtful, self._unread = doubtful, dict[str, list[str]]()
        self.attempt_group = AttemptGroup(self._on)
        self.latest = order[0]
        self.not_before = call.began
        self.committed_to = ""
        self.notes: list[str] = []
        self._started: list[Member] = []

    @property
    def running(self) -> list[Member]:
        """Who is being asked now."""
        return [member for member in self._started if member.name in self.attempt_group.running]

    @property
    def groups(self) -> set[str]:
        """The machines that work for this race now."""
        return {member.group for member in self.running}

    @property
    def nothing_sent(self) -> bool:
        """Whether no call has left the house yet: the next one is still the first."""
        return not self.attempt_group.running and all(a.outcome == "refused" for a in self.attempt_group.attempts)

    def member(self, name: str) -> Member:
        """The one of that name; it has been asked."""
        return next(member for member in self._started if member.name == name)

    def start(self, member: Member, why: str, now: float) -> None:
        self.waiting.remove(member)
        self.latest = member
        call = shared_reserve(self.call, now) if self._started else self.call
        self._started.append(member)
        self.attempt_group.start(member, call, why=why)

    async def run_alone(self, why: str) -> None:
        """Ask the only one there is."""
        self.latest = self.waiting.pop()
        self._started.append(self.latest)
        await self.attempt_group.run_alone(self.latest, self.call, why=why)

    def note(self, note: str) -> None:
        """Say it once."""
        if note not in self.notes:
            self.notes.append(note)

    def give_up(self, note: str) -> None:
        self.waiting.clear()
        self.notes.append(note)

    def _on(self, event: Event) -> None:
        if not self.call.stream:  # nobody reads along
            self._emit(event)
            return
        if isinstance(event, TextArrived) and self._speaks and not self.committed_to:
            self._read_on(event)
            return
        if isinstance(event, ToolCallArrived):
            self._commit(event.provider)
        elif isinstance(event, AttemptEnded) and event.attempt.outcome == "ok" and self._speaks:
            self._commit(event.attempt.provider)
        if isinstance(event, TextArrived | ToolCallArrived):
            event = msgspec.structs.replace(event, committed=event.provider == self.committed_to)
        self._emit(event)

    @property
    def _speaks(self) -> bool:
        """Whether text is the answer itself, and read along."""
        must_call = bool(self.call.tools) and self.call.tool_choice != "auto"
        return self.call.stream and self.call.schema is None and not must_call

    def _read_on(self, event: TextArrived) -> None:
        """Give the stream to who has written, and, where that is in doubt, has gone on after its first piece."""
        unread = self._unread.setdefault(event.provider, [])
        unread.append(event.text)
        if event.text.strip() and (len(unread) > 1 or event.provider not in self._doubtful):
            self._commit(event.provider)

    def _commit(self, provider: str) -> None:
        """Let *provider*'s text be read, from its beginning on, and cancel the others; once."""
        if self.committed_to:
            return
        self.committed_to = provider
        self.attempt_group.cancel_all_but(provider)
        if unread := "".join(self._unread.get(provider, ())):
            self._emit(TextArrived(self.call.request_id, provider, unread, committed=True))
