"""An attempt's time: limited, and written down."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from typing import TYPE_CHECKING

from llm_pool.core.errors import OutOfTime, TimedOut
from llm_pool.core.time_limit import TimeLimit
from llm_pool.qos.latency import LatencyKey
from llm_pool.qos.loaded_models import MIN_LOAD_TIME
from llm_pool.qos.policy import Policy
from llm_pool.qos.silence import never

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from llm_pool.core.interfaces import Clock, Provider
    from llm_pool.core.messages import Call, Delta
    from llm_pool.qos.latency import Latencies, LatencyKind

DEADLINE_MARGIN = 0.01
"""Seconds (at most a fiftieth of what is left) by which an attempt ends before the deadline, to be told of in time."""
UNKNOWN_TTFT_LIMIT = 1.0
"""Seconds without a word that are held against a backend whose usual time to the first token is unknown."""
SILENCE_FACTOR = 3.0
"""As many times its usual 95th percentile without a word are held against a backend whose usual time is known."""


def before_deadline(call: Call, now: float) -> float:
    """The instant by which an attempt of *call* has to end at *now*, so that what it says is heard."""
    return call.deadline - min(DEADLINE_MARGIN, max(0.0, call.deadline - now) / 50)


class Timed(Policy):
    """
    Ends an attempt at the least of three: the provider's timeout, the call's, the time left to the deadline.

    An answer that flows (``Call.idle``) has all the time from its first token on that it does not pause for longer.

    The provider's own timeout raises TimedOut, which counts against the backend. The asker's raises OutOfTime, which
    does not: an impatient asker must not take a backend from the others. It is TimedOut all the same if the backend
    had a fair chance: no word for ``SILENCE_FACTOR`` times as long as 95 of 100 answers need to begin,
    and no load going on.

    Time to the first token, total time and load time are recorded; load time is taken out of the other two. An
    attempt that is cut short leaves lower bounds.

    Args:
        inner: what is asked.
        latencies: the record.
        clock: the time.
        timeout: seconds; the provider's own limit, None for none.
        is_loading: whether the model is being loaded now.
        is_on_trial: whether a call may wait in the machine's own queue, as one more than was seen to run at once. Then
            only its asker's time ends it, and its time is not recorded.
    """

    def __init__(
        self,
        inner: Provider,
        latencies: Latencies,
        clock: Clock,
        *,
        timeout: float | None = None,
        is_loading: Callable[[], bool] = never,
        is_on_trial: Callable[[Call], bool] = lambda _: False,
    ) -> None:
        super().__init__(inner)
        self._latencies, self._clock, self._timeout = latencies, clock, timeout
        self._is_loading, self._is_on_trial = is_loading, is_on_trial

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """Ask; raises TimedOut, OutOfTime and what *inner* raises."""
        is_trial = self._is_on_trial(call)
        record = None if is_trial else self._latencies
        watch = _Stopwatch(self.name, call.task.name, self._clock, record, cold=self._is_loading())
        own, asked = self._limits(call, watch.began)
        own = math.inf if is_trial else own
        if asked <= watch.began:
            raise OutOfTime(self.name, "no time left before it was asked")
        # Around each wait and not around the stream: a generator does not run while its reader does.
        limit = TimeLimit(min(own, asked), keep=True)
        try:
            async with aclosing(self.inner.stream(call)) as deltas:
                while True:
                    with limit:
                        delta = await anext(deltas, None)
                    if delta is None:
                        break
                    watch.record(delta)
                    if call.idle is not None and watch.wrote:
                        asked = min(self._clock.now() + call.idle, call.latest - DEADLINE_MARGIN)
                        limit.move(min(own, asked))
                    yield delta
        except TimeoutError:
            watch.record_censored()
            raise self._timeout_error(call, watch, own=own <= asked) from None
        except (asyncio.CancelledError, GeneratorExit):
            watch.record_censored()
            raise
        finally:
            limit.close()

    def is_backend_fault(self, call: Call, silent: float, *, unknown: float = math.inf) -> bool:
        """
        Whether a backend that has said nothing for *silent* seconds is to blame, whoever ended the attempt.

        Args:
            call: the question.
            silent: seconds.
            unknown: seconds to hold against a backend whose usual time is unknown.
        """
        if self._is_loading() or self._is_on_trial(call):
            return False
        key = LatencyKey(self.name, call.task.name, "ttft")
        usual = self._latencies.quantile(key, 0.95, self._clock.now(), exclude_censored=True)
        return silent >= (unknown if usual is None else SILENCE_FACTOR * usual)

    def _limits(self, call: Call, now: float) -> tuple[float, float]:
        """The instants at which the provider's patience ends, and the asker's."""
        asked = before_deadline(call, now)
        if call.timeout is not None:
            asked = min(asked, now + call.timeout)
        return math.inf if self._timeout is None else now + self._timeout, asked

    def _timeout_error(self, call: Call, watch: _Stopwatch, *, own: bool) -> TimedOut:
        waited = self._clock.now() - watch.began
        if call.idle is not None and watch.wrote and not own:
            paused = self._clock.now() < call.latest - DEADLINE_MARGIN
            reason = f"it paused for {call.idle:g} s" if paused else f"no end within {waited:.2f} s"
            return (TimedOut if paused else OutOfTime)(self.name, reason)
        reason = f"no {'end' if watch.wrote else 'answer'} within {waited:.2f} s"
        if own or (not watch.wrote and self.is_backend_fault(call, waited, unknown=UNKNOWN_TTFT_LIMIT)):
            return TimedOut(self.name, reason)
        return OutOfTime(self.name, f"{reason}, all the time there was")


class _Stopwatch:
    """One attempt's times on their way into the record."""

    def __init__(self, provider: str, task: str, clock: Clock, latencies: Latencies | None, *, cold: bool) -> None:
        self._provider, self._task, self._clock, self._latencies = provider, task, clock, latencies
        self.began, self.cold = clock.now(), cold
        self._ttft: float | None = None
        self._done = False

    @property
    def wrote(self) -> bool:
        """Whether the first token has come."""
        return self._ttft is not None

    def record(self, delta: Delta) -> None:
        """Note a delta; the last one tells the whole."""
        if self._ttft is None and delta.has_token:
            self._ttft = self._clock.now() - self.began
        if delta.final:
            self._finish(self._clock.now() - self.began, delta.loading or 0.0)

    def _finish(self, total: float, loading: float) -> None:
        self._done = True
        if loading >= MIN_LOAD_TIME:
            self._add("load", loading)
        if self._ttft is not None:
            self._add("ttft", max(0.0, self._ttft - loading))
        self._add("total", max(0.0, total - loading))

    def record_censored(self) -> None:
        """Note that the attempt ends here, unfinished. While a model loads, time says something of the load only."""
        if self._done:
            return
        elapsed = self._clock.now() - self.began
        if self.cold:
            if self._ttft is None:
                self._add("load", elapsed, censored=True)
        else:
            self._add("ttft", elapsed if self._ttft is None else self._ttft, censored=self._ttft is None)
            self._add("total", elapsed, censored=True)

    def _add(self, what: LatencyKind, seconds: float, *, censored: bool = False) -> None:
        if self._latencies is not None:
            key = LatencyKey(self._provider, self._task, what)
            self._latencies.add(key, seconds, self._clock.now(), censored=censored)
