"""How the pool stands now, for metrics and for the status page."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llm_pool import __version__
from llm_pool.telemetry.standing import Machine, Standing
from llm_pool.wire import error_json, state_json

if TYPE_CHECKING:
    from llm_pool.config import ProviderSettings
    from llm_pool.live import Health, Live, Running
    from llm_pool.messages import Json, ProviderState
    from llm_pool.server.history import History
    from llm_pool.telemetry.metrics import Metrics


async def standing(live: Live) -> Standing:
    """The pool now; asks the backends how they are, as ``Live.health`` does."""
    health, kept, reload = await live.health(), live.app.kept, live.last_reload
    return Standing(
        version=__version__,
        generation=live.generation,
        in_flight=live.in_flight,
        tasks=len(asyncio.all_tasks()),
        budget_left=kept.budget.left(kept.clock.now()),
        machines=machines(live),
        breakers={key: state.value for key, state in kept.breakers.states().items()},
        healthy={state.name: state.condition == "healthy" for state in health.states},
        reload_at=reload.at,
        reload_ok=reload.ok,
    )


def machines(live: Live) -> tuple[Machine, ...]:
    """The groups of the pool that serves."""
    return tuple(Machine(gate.group, gate.busy, gate.slots, gate.waiting) for gate in live.app.machines.gates)


async def summary(live: Live, history: History, metrics: Metrics, began: float) -> dict[str, Json]:
    """
    What the status page shows to everybody who may ask at all: the pool, and no request.

    *began*: Unix seconds of the daemon's start.
    """
    health, kept = await live.health(), live.app.kept
    providers = [_provider(live, state, history, metrics) for state in health.states]
    now = kept.clock.wall()
    return {
        "version": __version__,
        "now": now,
        "uptime_ms": round((now - began) * 1000),
        "verdict": verdict(live, health, providers),
        "generation": live.generation,
        "in_flight": live.in_flight,
        "last_reload": _reload(live),
        "budget_left": round(kept.budget.left(kept.clock.now()), 1),
        "cache_hit_ratio": metrics.hit_ratio,
        "captures": history.captures,
        "providers": providers,
        "strategies": {task: live.config.strategy_for(task).value for task in live.config.tasks},
    }


def verdict(live: Live, health: Health, providers: list[dict[str, Json]]) -> dict[str, Json]:
    """``serving``, ``degraded``, ``down`` or ``stopping``, and why."""
    ill = [f"{p['name']}: {p['detail'] or p['state']}" for p in providers if p["state"] not in {"healthy", "warming"}]
    dark = [
        f"{p['name']}: breaker open"
        for p in providers
        if p["state"] in {"healthy", "warming"} and any(b["state"] == "open" for b in p["breakers"])
    ]
    stale = [] if live.last_reload.ok else ["the last configuration was refused; the one before serves"]
    if live.is_draining:
        return {"state": "stopping", "why": ["no new work is taken"]}
    if not health.ready:
        return {"state": "down", "why": ill or ["no provider"]}
    why = ill + dark + stale
    return {"state": "degraded" if why else "serving", "why": why}


def running_json(running: Running, now: float) -> dict[str, Json]:
    """A request in flight, without its prompt."""
    query = running.query
    return {
        "number": running.number,
        "request_id": query.request_id or None,
        "tenant_id": query.tenant_id,
        "project_id": query.project_id,
        "task": query.task[:64],
        "strategy": None if query.strategy is None else query.strategy.value,
        "elapsed_ms": round((now - running.began) * 1000),
        "generation": running.generation,
    }


def _provider(live: Live, state: ProviderState, history: History, metrics: Metrics) -> dict[str, Json]:
    settings = next(settings for settings in live.config.active_providers if settings.name == state.name)
    machine = next(machine for machine in machines(live) if machine.group == settings.machine)
    return {
        **state_json(state),
        "driver": settings.driver.value,
        "group": machine.group,
        "busy": machine.busy,
        "slots": machine.slots,
        "waiting": machine.waiting,
        "weight": settings.weight,
        "last_resort": settings.last_resort,
        "breakers": _breakers(live, settings),
        "win_rate": metrics.win_rate(state.name),
        **history.pace(state.name).told(),
    }


def _breakers(live: Live, settings: ProviderSettings) -> list[dict[str, Json]]:
    """The provider's breakers that refuse, or would let only a probe through."""
    breakers = live.app.kept.breakers
    found = []
    for (provider, task), state in sorted(breakers.states().items()):
        refusal = breakers.refusal(provider, task)
        if provider == settings.name and (state != "closed" or refusal is not None):
            left = None if refusal is None else round(refusal.retry_after * 1000)
            found.append(
                {
                    "task": task,
                    "state": state.value,
                    "why": None if refusal is None else refusal.why,
                    "retry_after_ms": left,
                }
            )
    return found


def _reload(live: Live) -> dict[str, Json]:
    reload = live.last_reload
    error = None if reload.error is None else error_json(reload.error)["error"]
    return {"at": reload.at, "ok": reload.ok, "generation": reload.generation, "error": error}
