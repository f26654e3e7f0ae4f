"""Ordinary values for tests that care about something else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.messages import Call, Member, Prompt, Task

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
    """Fakes in their seats, ranked as given; each on a machine of its own unless *group* names one for all."""
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
