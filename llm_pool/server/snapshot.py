"""A snapshot of the pool, for metrics and for the status page."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llm_pool import __version__
from llm_pool.server.history import MAX_NAME, MAX_TEXT, name_of
from llm_pool.telemetry.snapshot import Machine, PoolSnapshot
from llm_pool.wire.json import error_json, state_json

if TYPE_CHECKING:
    from llm_pool.config import ProviderSettings
    from llm_pool.core.messages import Json, ProviderState
    from llm_pool.engine import Health, PoolManager, RunningRequest
    from llm_pool.server.history import History
    from llm_pool.telemetry.metrics import Metrics


def snapshot(manager: PoolManager) -> PoolSnapshot:
    """The pool now, and its backends as they were when somebody looked last: who scrapes waits for nobody."""
    health, pool_state, reload = manager.last_health(), manager.app.pool_state, manager.last_reload
    return PoolSnapshot(
        version=__version__,
        generation=manager.generation,
        in_flight=manager.in_flight,
        tasks=len(asyncio.all_tasks()),
        budget_left=pool_state.budget.left(pool_state.clock.now()),
        machines=machines(manager),
        breakers={key: state.value for key, state in pool_state.breakers.states().items()},
        healthy={state.name: state.condition == "healthy" for state in health.states},
        reload_at=reload.at,
        reload_ok=reload.ok,
    )


def machines(manager: PoolManager) -> tuple[Machine, ...]:
    """The groups of the pool that serves."""
    return tuple(Machine(gate.group, gate.busy, gate.slots, gate.waiting) for gate in manager.app.machines.gates)


async def summary(manager: PoolManager, history: History, metrics: Metrics, began: float) -> dict[str, Json]:
    """
    What the status page shows to everybody who may ask at all: the pool, and no request.

    *began*: Unix seconds of the daemon's start.
    """
    health, pool_state = await manager.health(), manager.app.pool_state
    providers = [_provider(manager, state, history, metrics) for state in health.states]
    now = pool_state.clock.wall()
    return {
        "version": __version__,
        "now": now,
        "uptime_ms": round((now - began) * 1000),
        "verdict": verdict(manager, health, providers),
        "generation": manager.generation,
        "in_flight": manager.in_flight,
        "loaded_at": manager.loaded_at,
        "last_reload": _reload(manager),
        "budget_left": round(pool_state.budget.left(pool_state.clock.now()), 1),
        "cache_hit_ratio": metrics.hit_ratio,
        "answers": metrics.answers,
        "captures": history.captures,
        "providers": providers,
        "strategies": {task: manager.config.strategy_for(task).value for task in manager.config.tasks},
    }


def verdict(manager: PoolManager, health: Health, providers: list[dict[str, Json]]) -> dict[str, Json]:
    """``serving``, ``degraded``, ``down`` or ``stopping``, and why."""
    ill = [f"{p['name']}: {p['detail'] or p['state']}" for p in providers if p["state"] not in {"healthy", "warming"}]
    dark = [
        f"{p['name']}: breaker open"
        for p in providers
        if p["state"] in {"healthy", "warming"} and any(b["state"] == "open" for b in p["breakers"])
    ]
    stale = [] if manager.last_reload.ok else ["the last configuration was refused; the one before serves"]
    if manager.is_draining:
        return {"state": "stopping", "why": ["no new work is taken"]}
    if not health.ready:
        return {"state": "down", "why": ill or ["no provider"]}
    why = ill + dark + stale
    return {"state": "degraded" if why else "serving", "why": why}


def running_json(running: RunningRequest, now: float, *, captures: bool) -> dict[str, Json]:
    """A request in flight; with its prompt, where *captures* says that prompts are shown."""
    query = running.query
    prompt = {"prompt": query.prompt[:MAX_TEXT]} if captures else {}
    return prompt | {
        "number": running.number,
        "request_id": name_of(query) or None,
        "tenant_id": query.tenant_id[:MAX_NAME],
        "project_id": query.project_id[:MAX_NAME],
        "task": query.task[:64],
        "strategy": None if query.strategy is None else query.strategy.value,
        "elapsed_ms": round((now - running.began) * 1000),
        "generation": running.generation,
    }


def _provider(manager: PoolManager, state: ProviderState, history: History, metrics: Metrics) -> dict[str, Json]:
    settings = next(settings for settings in manager.config.active_providers if settings.name == state.name)
    machine = next(machine for machine in machines(manager) if machine.group == settings.machine)
    return {
        **state_json(state),
        "driver": settings.driver.value,
        "group": machine.group,
        "busy": machine.busy,
        "slots": machine.slots,
        "waiting": machine.waiting,
        "weight": settings.weight,
        "last_resort": settings.last_resort,
        "breakers": _breakers(manager, settings),
        "win_rate": metrics.win_rate(state.name),
        **history.stats(state.name).as_json(),
    }


def _breakers(manager: PoolManager, settings: ProviderSettings) -> list[dict[str, Json]]:
    """The provider's breakers that refuse, or would let only a probe through."""
    breakers = manager.app.pool_state.breakers
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


def _reload(manager: PoolManager) -> dict[str, Json]:
    reload = manager.last_reload
    error = None if reload.error is None else error_json(reload.error)["error"]
    return {"at": reload.at, "ok": reload.ok, "generation": reload.generation, "error": error}
