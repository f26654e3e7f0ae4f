"""``infer --dry-run``: what would be asked of whom."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from llm_pool.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_pool.cli.console import Console
    from llm_pool.core.messages import Json, Prompt, Query
    from llm_pool.engine import Orchestrator, Plan


class Wording(msgspec.Struct, frozen=True):
    """
    A prompt, and who gets it.

    Attributes:
        variant: the prompt variant; empty for the task's own words.
        providers: names in the panel's order.
    """

    variant: str
    providers: tuple[str, ...]
    prompt: Prompt

    @property
    def hash(self) -> str:
        """SHA-256 of both parts, in hexadecimal."""
        return hashlib.sha256(f"{self.prompt.system}\0{self.prompt.user}".encode()).hexdigest()

    @property
    def tokens(self) -> int:
        """A rough count: English text has about four characters a token."""
        return (len(self.prompt.system) + len(self.prompt.user) + 3) // 4


async def show_plan(
    query: Query, pool: Orchestrator, variants: Mapping[str, str], console: Console, *, as_json: bool
) -> int:
    """Print the plan of *query* for providers with *variants*; asks nobody. Raises what ``Orchestrator.plan`` does."""
    plan = await pool.plan(query)
    wordings = wordings_of(plan, variants)
    if as_json:
        console.json(plan_json(plan, wordings))
        return ExitCode.OK
    call, members = plan.call, (*plan.panel.regular, *plan.panel.last_resort)
    console.out(f"task      {call.task.name} (version {call.task.version})")
    console.out(f"strategy  {plan.strategy}")
    length = "to the answer's end" if call.max_tokens is None else f"{call.max_tokens} tokens at most"
    console.out(f"deadline  {(call.deadline - call.began) * 1000:.0f} ms, {length}")
    for member in members:
        last = "  last resort" if member in plan.panel.last_resort else ""
        console.out(f"asks      {member.name} ({member.model}) weight {member.weight:g}, on {member.group}{last}")
    for wording in wordings:
        _show(wording, console, alone=len(wordings) == 1)
    return ExitCode.OK


def wordings_of(plan: Plan, variants: Mapping[str, str]) -> list[Wording]:
    """The prompts of *plan*, each once, the first member's first; *variants*: the prompt variant of each provider."""
    from llm_pool.tasks import with_variant

    names: dict[str, list[str]] = {}
    for member in (*plan.panel.regular, *plan.panel.last_resort):
        variant = variants.get(member.name, "")
        names.setdefault(variant if variant in plan.call.task.variants else "", []).append(member.name)
    return [
        Wording(variant, tuple(providers), with_variant(plan.call, variant).prompt)
        for variant, providers in names.items()
    ]


def plan_json(plan: Plan, wordings: list[Wording]) -> dict[str, Json]:
    """*plan* as a JSON object; ``system`` and ``user`` are the task's own words."""
    call = plan.call
    own = Wording("", (), call.prompt)
    return {
        "task": call.task.name,
        "task_version": call.task.version,
        "strategy": plan.strategy.value,
        "deadline_ms": round((call.deadline - call.began) * 1000, 3),
        "max_tokens": call.max_tokens,
        "temperature": call.temperature,
        "think": call.think,
        "panel": [
            {"provider": m.name, "model": m.model, "weight": m.weight, "group": m.group, "last_resort": last}
            for members, last in ((plan.panel.regular, False), (plan.panel.last_resort, True))
            for m in members
        ],
        "prompt_sha256": own.hash,
        "prompt_tokens_estimate": own.tokens,
        "system": call.prompt.system,
        "user": call.prompt.user,
        "prompts": [
            {
                "variant": wording.variant,
                "providers": wording.providers,
                "sha256": wording.hash,
                "tokens_estimate": wording.tokens,
                "system": wording.prompt.system,
                "user": wording.prompt.user,
            }
            for wording in wordings
        ],
        "schema": call.schema,
    }


def _show(wording: Wording, console: Console, *, alone: bool) -> None:
    variant = f", variant {wording.variant}" if wording.variant else ""
    whom = "" if alone else f" for {', '.join(wording.providers)}{variant}"
    prompt = wording.prompt
    console.out(f"prompt    sha256:{wording.hash}, about {wording.tokens} tokens{whom}")
    console.out(f"\n{prompt.system}\n---\n{prompt.user}" if prompt.system else f"\n{prompt.user}")
