"""
Models that say what a test tells them to.

Two ways. *Attempt by attempt*: the test plays the model, and time stands still until it speaks::

    provider, calls = scripted("phi3")
    asking = asyncio.create_task(strategy.run(call, [member(provider)], emit))
    received = await calls.next()
    received.reply("blue", after=0.3)

*Declared ahead*: a reply for each call, as a list (the last one repeats) or a function of the call::

    fast = ScriptedProvider("fast", Reply("blue", ttft=0.1, duration=0.5))
    flaky = ScriptedProvider("flaky", [Reply.failing(Unreachable("flaky", "refused")), Reply("red")])

Both count what was asked, cancelled and is in flight. They sleep with asyncio, so put them on ``VirtualLoop``.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from llm_pool.core.messages import (
    Call,
    Condition,
    Delta,
    FinishReason,
    ProviderState,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llm_pool.core.errors import ProviderError


class FakeProvider:
    """
    What every fake shares: a condition to report, and counts.

    Attributes:
        condition: what ``state()`` reports; ``load()`` turns ``warming`` into ``healthy``.
        load_time: seconds ``load()`` takes.
        calls: every call received, in order.
        in_flight, most_in_flight: streams open now, and at the most.
        cancelled: streams closed before their last delta.
        loads: times ``load()`` was called.
        closed: ``aclose()`` was called.
    """

    def __init__(self, name: str, model: str) -> None:
        self.name, self.model = name, model
        self.condition: Condition = "healthy"
        self.load_time = 0.0
        self.calls: list[Call] = []
        self.in_flight = self.most_in_flight = self.cancelled = self.loads = 0
        self.closed = False

    async def stream(self, call: Call) -> AsyncGenerator[Delta, None]:
        """Ask; closing early counts as cancelled."""
        self.calls.append(call)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            async with aclosing(self._generate(call)) as deltas:
                async for delta in deltas:
                    yield delta
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1

    def _generate(self, call: Call) -> AsyncGenerator[Delta, None]:
        raise NotImplementedError

    async def state(self) -> ProviderState:
        """The condition a test has set."""
        loaded = (self.model,) if self.condition == "healthy" else ()
        return ProviderState(name=self.name, model=self.model, condition=self.condition, loaded=loaded)

    async def load(self) -> None:
        """Take ``load_time`` and be healthy."""
        self.loads += 1
        await asyncio.sleep(self.load_time)
        if self.condition == "warming":
            self.condition = "healthy"

    async def aclose(self) -> None:
        """Remember that it was asked to close."""
        self.closed = True


class ReceivedCall:
    """
    One call as a test receives it: the test speaks, the provider passes it on.

    Each utterance may come *after* so many seconds, counted from the one before.

    Attributes:
        call: the question.
        cancelled: await it to see the stream closed before its end; ``cancelled.done()`` asks.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        self.cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._script: asyncio.Queue[tuple[float, Delta | ProviderError]] = asyncio.Queue()

    def delta(self, text: str, *, after: float = 0.0) -> None:
        """A piece of the answer."""
        self._script.put_nowait((after, Delta(text)))

    def call_tool(self, name: str, arguments: str, *, index: int = 0, after: float = 0.0) -> None:
        """A call, as far as *arguments* go."""
        piece = ToolCallDelta(index, f"call_{index}", name, arguments)
        self._script.put_nowait((after, Delta(tool_calls=(piece,))))

    def think(self, text: str, *, after: float = 0.0) -> None:
        """A piece of what the model thinks."""
        self._script.put_nowait((after, Delta(reasoning=text)))

    def reply(
        self,
        text: str = "",
        *,
        tokens: int | None = None,
        after: float = 0.0,
        finish: FinishReason = "stop",
        logprobs: Sequence[TokenLogprob] = (),
    ) -> None:
        """The (rest of the) answer, and its proper end."""
        if text:
            self.delta(text, after=after)
            after = 0.0
        final = Delta(final=True, finish=finish, usage=Usage(None, tokens), logprobs=tuple(logprobs))
        self._script.put_nowait((after, final))

    def fail(self, error: ProviderError, *, after: float = 0.0) -> None:
        """An error instead of a proper end."""
        self._script.put_nowait((after, error))

    def hang(self) -> None:
        """No word from here on, whatever the script says later."""
        self._script.put_nowait((math.inf, Delta()))

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        """What the test says, as it says it; for the provider."""
        try:
            while True:
                after, item = await self._script.get()
                await _pause(after)
                if not isinstance(item, Delta):
                    raise item
                yield item
                if item.final:
                    return
        except (asyncio.CancelledError, GeneratorExit):
            if not self.cancelled.done():
                self.cancelled.set_result(None)
            raise


class Calls:
    """The calls a scripted provider received, handed to the test in order."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[ReceivedCall] = asyncio.Queue()

    async def next(self) -> ReceivedCall:
        """The next call, as soon as there is one."""
        return await self._waiting.get()

    def pending(self) -> int:
        """Calls that were received and not yet handed out."""
        return self._waiting.qsize()

    def add(self, received: ReceivedCall) -> None:
        """For the provider."""
        self._waiting.put_nowait(received)


class _ManualProvider(FakeProvider):
    def __init__(self, name: str, model: str) -> None:
        super().__init__(name, model)
        self.received = Calls()

    def _generate(self, call: Call) -> AsyncGenerator[Delta, None]:
        received = ReceivedCall(call)
        self.received.add(received)
        return received.deltas()


def scripted(name: str = "phi3", *, model: str = "") -> tuple[FakeProvider, Calls]:
    """A provider, and the handle from which a test plays its model."""
    provider = _ManualProvider(name, model or f"{name}:mini")
    return provider, provider.received


class Reply(msgspec.Struct, frozen=True):
    """
    One answer, declared.

    The text comes word by word (in at most eight pieces), the first after *ttft*, the last and the final delta
    after *duration* seconds; an *error* takes the place of the final delta. Calls, each a name and the JSON of its
    arguments, come after the text, in two pieces each.
    """

    text: str = ""
    ttft: float = 0.1
    duration: float = 0.5
    error: ProviderError | None = None
    finish: FinishReason = "stop"
    tokens: int | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    loading: float | None = None
    note: str = ""
    calls: tuple[tuple[str, str], ...] = ()

    @classmethod
    def failing(cls, error: ProviderError, *, after: float = 0.0) -> Reply:
        """No text, and *error* after so many seconds."""
        return cls(error=error, ttft=after, duration=after)

    @classmethod
    def hanging(cls) -> Reply:
        """Nothing, for ever."""
        return cls(ttft=math.inf, duration=math.inf)


Script: TypeAlias = Reply | Sequence[Reply] | Callable[[Call], Reply]


class ScriptedProvider(FakeProvider):
    """
    A provider whose answers are declared ahead.

    Args:
        script: a Reply for every call; or a list of them, of which the last repeats; or a function of the call.
    """

    def __init__(self, name: str, script: Script, *, model: str = "") -> None:
        super().__init__(name, model or f"{name}:mini")
        self._script = script

    def _reply(self, call: Call) -> Reply:
        if isinstance(self._script, Reply):
            return self._script
        if callable(self._script):
            return self._script(call)
        return self._script[min(len(self.calls), len(self._script)) - 1]

    async def _generate(self, call: Call) -> AsyncGenerator[Delta, None]:
        reply = self._reply(call)
        pieces = _pieces(reply.text)
        await _pause(reply.ttft)
        gap = (reply.duration - reply.ttft) / max(1, len(pieces) - 1)
        for index, piece in enumerate(pieces):
            await _pause(gap if index else 0.0)
            yield Delta(piece)
        if len(pieces) < 2:
            await _pause(gap)
        for index, (name, arguments) in enumerate(reply.calls):
            yield Delta(tool_calls=(ToolCallDelta(index, f"call_{index}", name),))
            yield Delta(tool_calls=(ToolCallDelta(index, arguments=arguments),))
        if reply.error is not None:
            raise reply.error
        usage = Usage(len(call.prompt.user.split()), len(reply.text.split()) if reply.tokens is None else reply.tokens)
        yield Delta(
            final=True,
            finish="tool_calls" if reply.calls and reply.finish == "stop" else reply.finish,
            usage=usage,
            logprobs=reply.logprobs,
            loading=reply.loading,
            note=reply.note,
        )


def _pieces(text: str) -> list[str]:
    words = re.findall(r"\s*\S+\s*$|\s*\S+", text) or ([text] if text else [])
    size = max(1, math.ceil(len(words) / 8))
    return ["".join(words[at : at + size]) for at in range(0, len(words), size)]


async def _pause(seconds: float) -> None:
    if math.isinf(seconds):
        await asyncio.Event().wait()
    elif seconds > 0:
        await asyncio.sleep(seconds)
