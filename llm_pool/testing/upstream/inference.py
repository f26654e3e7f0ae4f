"""From a question to the words on the wire: the mode, the machine, what is said, and how fast."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Literal, TypeAlias

from llm_pool.testing.upstream import answers, latency
from llm_pool.testing.upstream.machine import Machine, Model, QueueFull
from llm_pool.testing.upstream.ollama import BUSY
from llm_pool.testing.upstream.speech import compose, slowed, trickled

if TYPE_CHECKING:
    from pathlib import Path

    from llm_pool.testing.upstream.answers import AnswerFunction, Ask, Said
    from llm_pool.testing.upstream.exchange import Exchange
    from llm_pool.testing.upstream.latency import Distribution
    from llm_pool.testing.upstream.modes import Mode, Modes
    from llm_pool.testing.upstream.speech import Speech

Flavor: TypeAlias = Literal["ollama", "llama-server"]


class Minds:
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

    def think(self, ask: Ask, mode: Mode, times: tuple[float, float]) -> Speech:
        """The whole answer with its times, as *mode* would have it."""
        speech = compose(ask, self._said(ask, mode), ttft=times[0], per_token=times[1])
        if mode.name == "slow":
            return slowed(speech, mode.value)
        return trickled(speech, mode.value) if mode.name == "trickle" else speech

    def _said(self, ask: Ask, mode: Mode) -> Said:
        if mode.name == "nonsense":
            return answers.NONSENSE
        said = self._answer(ask) if self._answer else None
        if said is None and self._recorded:
            said = self._recorded(ask)
        return answers.Said(said) if isinstance(said, str) else said or answers.generated(ask)


async def infer(
    ask: Ask,
    model: Model,
    exchange: Exchange,
    minds: Minds,
    modes: Modes,
    machine: Machine,
    *,
    keep_alive: float = 300.0,
) -> None:
    """Answer *ask*: spoiled by a mode, refused by the machine, or said."""
    entry = exchange.entry
    mode = modes.next(model.name, minds.random(model.name))
    entry.mode = str(mode)
    times = minds.times(model.name)
    if await exchange.spoil(mode):
        return
    await _still_loading(mode)
    try:
        async with machine.serve(model, keep_alive=keep_alive) as entry.loading:
            speech = minds.think(ask, mode, times)
            speech.loading = entry.loading
            await exchange.perform(speech, mode, asked=entry.arrived)
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
