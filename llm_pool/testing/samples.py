"""Ordinary values for tests that care about something else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.core.interfaces import Member
from llm_pool.core.messages import Answer, Attempt, Call, Decision, Prompt, Reading, StrategyName, Task, Usage

if TYPE_CHECKING:
    from llm_pool.testing.scripted import FakeProvider


def a_call(prompt: str = "which colour?", **changes: Any) -> Call:
    """A plain question with a minute to answer it; *changes* replace fields of the Call. Needs a running loop."""
    now = asyncio.get_running_loop().time()
    call = Call(
        request_id="r1",
        task=Task(name="ask", template="{{input}}"),
        input=prompt,
        prompt=Prompt("", prompt),
        schema=None,
        ids=(),
        max_tokens=100,
        temperature=0.0,
        began=now,
        deadline=now + 60.0,
    )
    return msgspec.structs.replace(call, **changes)


def a_panel(*providers: FakeProvider, weights: tuple[float, ...] = (), group: str | None = None) -> list[Member]:
    """Fakes as members of a panel, ranked as given; each on a machine of its own unless *group* names one for all."""
    return [
        Member(
            provider=provider,
            model=provider.model,
            weight=weights[rank] if weights else 1.0,
            group=provider.name if group is None else group,
            rank=rank,
        )
        for rank, provider in enumerate(providers)
    ]


def an_answer(text: str = "blue", **changes: Any) -> Answer:
    """An answer of one provider that said *text*; *changes* replace fields of the Answer."""
    reading = Reading(content=text, value=None)
    decision = Decision(
        asked=StrategyName.FASTEST,
        used=StrategyName.FASTEST,
        winner="phi3",
        model="phi3:mini",
        reading=reading,
        reason="first valid answer",
        attempts=(
            Attempt(provider="phi3", model="phi3:mini", outcome="ok", started=0.0, duration=0.5, reading=reading),
        ),
    )
    answer = Answer(
        request_id="r1",
        task="ask",
        content=text,
        json=None,
        winner="phi3",
        winner_model="phi3:mini",
        strategy_used=StrategyName.FASTEST,
        decision=decision,
        usage=Usage(),
        duration=0.5,
    )
    return msgspec.structs.replace(answer, **changes)
