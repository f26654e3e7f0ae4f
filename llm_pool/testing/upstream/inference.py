"""From a question to the words on the wire: the mode, the machine, what is said, and how fast."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Literal, TypeAlias

from llm_pool.testing.upstream import answers, latency
from llm_pool.testing.upstream.generation import compose, slowed, trickled
from llm_pool.testing.upstream.machine import Machine, Model, QueueFull
from llm_pool.testing.upstream.ollama import BUSY

if TYPE_CHECKING:
    from pathlib import Path

    from llm_pool.testing.upstream.answers import AnswerFunction, ScriptedAnswer, TextRequest
    from llm_pool.testing.upstream.exchange import Exchange
    from llm_pool.testing.upstream.generation import Generation
    from llm_pool.testing.upstream.latency import Distribution
    from llm_pool.testing.upstream.modes import Mode, Modes

Flavor: TypeAlias = Literal["ollama", "llama-server"]


class AnswerGenerator:
    """
    What the models say and how long they think.

    Args:
        answer, recorded, ttft, per_token, seed: as in ``Upstream``.
    """

    def __init__(
        self,
        answer: AnswerFunction | None,
        recorded: Path | None,
        ttft: str | Distribution,
        per_token: str | Distribution,
        seed: int,
    ) -> None:
        self._answer = answer
        self._recorded = answers.Recordings(recorded) if recorded else None
        self._ttft = latency.parse(ttft) if isinstance(ttft, str) else ttft
        self._per_token = latency.parse(per_token) if isinstance(per_token, str) else per_token
        self._seed, self._randoms = seed, dict[str, Random]()

    def random(self, name: str) -> Random:
        """The generator that *name* draws from, so that models do not disturb each other's luck."""
        if name not in self._randoms:
            self._randoms[name] = Random(f"{self._seed}/{name}")
        return self._randoms[name]

    def times(self, model: str) -> tuple[float, float]:
        """Seconds to the first token and between two, drawn for one request."""
        rng = self.random(model)
        return self._ttft(rng), self._per_token(rng)

    def generate(self, text_request: TextRequest, mode: Mode, times: tuple[float, float]) -> Generation:
        """The whole answer with its times, as *mode* would have it."""
        generation = compose(text_request, self._scripted(text_request, mode), ttft=times[0], per_token=times[1])
        if mode.name == "slow":
            return slowed(generation, mode.value)
        return trickled(generation, mode.value) if mode.name == "trickle" else generation

    def _scripted(self, text_request: TextRequest, mode: Mode) -> ScriptedAnswer:
        if mode.name == "nonsense":
            return answers.NONSENSE
        answer = self._answer(text_request) if self._answer else None
        if answer is None and self._recorded:
            answer = self._recorded(text_request)
        return answers.ScriptedAnswer(answer) if isinstance(answer, str) else answer or answers.generated(text_request)


async def infer(
    text_request: TextRequest,
    model: Model,
    exchange: Exchange,
    generator: AnswerGenerator,
    modes: Modes,
    machine: Machine,
    *,
    keep_alive: float = 300.0,
) -> None:
    """Answer *text_request*: spoiled by a mode, refused by the machine, or said."""
    entry = exchange.entry
    mode = modes.next(model.name, generator.random(model.name))
    entry.mode = str(mode)
    times = generator.times(model.name)
    if await exchange.apply_fault(mode):
        return
    await _still_loading(mode)
    try:
        async with machine.serve(model, keep_alive=keep_alive) as entry.loading:
            generation = generator.generate(text_request, mode, times)
            generation.loading = entry.loading
            await exchange.respond(generation, mode, asked=entry.arrived)
    except QueueFull:
        exchange.refuse(503, BUSY)


def is_loading(mode: Mode) -> bool:
    """The model is being loaded, says *mode*."""
    return mode.name == "loading" and _now() < mode.since + mode.value


async def _still_loading(mode: Mode) -> None:
    if is_loading(mode):
        await asyncio.sleep(mode.since + mode.value - _now())


def _now() -> float:
    return asyncio.get_running_loop().time()
