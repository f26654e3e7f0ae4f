"""``infer --dry-run``: what would be asked of whom."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from llm_pool.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from llm_pool.cli.console import Console
    from llm_pool.core.messages import Json, Query
    from llm_pool.engine import Orchestrator, Plan


async def show_plan(query: Query, pool: Orchestrator, console: Console, *, as_json: bool) -> int:
    """Print the plan of *query*; asks nobody. Raises InvalidRequest where ``infer`` would."""
    plan = await pool.plan(query)
    if as_json:
        console.json(plan_json(plan))
        return ExitCode.OK
    call, members = plan.call, (*plan.panel.regular, *plan.panel.last_resort)
    console.out(f"task      {call.task.name} (version {call.task.version})")
    console.out(f"strategy  {plan.strategy}")
    length = "to the answer's end" if call.max_tokens is None else f"{call.max_tokens} tokens at most"
    console.out(f"deadline  {(call.deadline - call.began) * 1000:.0f} ms, {length}")
    for member in members:
        last = "  last resort" if member in plan.panel.last_resort else ""
        console.out(f"asks      {member.name} ({member.model}) weight {member.weight:g}, on {member.group}{last}")
    console.out(f"prompt    sha256:{_hash(plan)}, about {_tokens(plan)} tokens")
    console.out(f"\n{call.prompt.system}\n---\n{call.prompt.user}" if call.prompt.system else f"\n{call.prompt.user}")
    return ExitCode.OK


def plan_json(plan: Plan) -> dict[str, Json]:
    """*plan* as a JSON object."""
    call = plan.call
    return {
        "task": call.task.name,
        "task_version": call.task.version,
        "strategy": plan.strategy.value,
        "deadline_ms": round((call.deadline - call.began) * 1000, 3),
        "max_tokens": call.max_tokens,
        "temperature": call.temperature,
        "panel": [
            {"provider": m.name, "model": m.model, "weight": m.weight, "group": m.group, "last_resort": last}
            for members, last in ((plan.panel.regular, False), (plan.panel.last_resort, True))
            for m in members
        ],
        "prompt_sha256": _hash(plan),
        "prompt_tokens_estimate": _tokens(plan),
        "system": call.prompt.system,
        "user": call.prompt.user,
        "schema": call.schema,
    }


def _hash(plan: Plan) -> str:
    return hashlib.sha256(f"{plan.call.prompt.system}\0{plan.call.prompt.user}".encode()).hexdigest()


def _tokens(plan: Plan) -> int:
    """A rough count: English text has about four characters a token."""
    return (len(plan.call.prompt.system) + len(plan.call.prompt.user) + 3) // 4
