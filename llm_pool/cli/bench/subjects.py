"""What is measured: a provider alone, or the pool under one strategy. Both are a pool of their own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from llm_pool.cli.bench.figures import Sample
from llm_pool.cli.options import known_provider
from llm_pool.core.errors import LlmPoolError
from llm_pool.core.messages import StrategyName
from llm_pool.engine import parse_strategy
from llm_pool.wire.json import error_code

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from llm_pool.config import Config, ProviderSettings
    from llm_pool.core.messages import Answer, Query
    from llm_pool.engine import Orchestrator

INPUTS = {
    "ask": "Name three primary colours, in one short sentence.",
    "expand_queries": "cinematic lounge videos",
    "site_tactics": '{"site":"example.org","goal":"lounge videos","obstacles":["cookie banner","infinite scroll"]}',
    "rerank_candidates": '{"query":"calm lounge videos","candidates":[{"id":"a","text":"dark metal albums"},'
    '{"id":"b","text":"calm lounge videos"},{"id":"c","text":"calm lounge photos"}]}',
    "judge": '{"question":"calm lounge videos","candidates":[{"id":"a","text":"blurry lounge videos"},'
    '{"id":"b","text":"excellent lounge videos"}]}',
    "recovery_plan": "crawler: 403 forbidden for some users",
    "enrich_metadata": "calm lounge video, tea house in Lisbon at night",
}
"""What the tasks that come with us are asked where nobody says: in words that the bundled models know too."""


class Subject(msgspec.Struct, frozen=True):
    """
    One pool to measure.

    Attributes:
        name: a provider's, or ``pool FASTEST``.
    """

    name: str
    config: Config
    strategy: StrategyName


def subjects(config: Config, task: str, providers: Sequence[str], strategies: Sequence[str]) -> list[Subject]:
    """
    Each of *providers* alone, then the pool under each of *strategies*.

    Args:
        config: the whole configuration.
        task: those who serve it are taken where nobody is named.
        providers: names; empty with empty *strategies*: all that serve *task*.
        strategies: names, or ``all``; empty with empty *providers*: the task's own.

    Raises:
        InvalidRequest: no such provider or strategy.
    """
    if not providers and not strategies:
        chosen, names = _serving(config, task), [config.strategy_for(task)]
    else:
        chosen, names = [_provider(config, name) for name in providers], _strategies(config, strategies)
    quiet = msgspec.structs.replace(config, trust=msgspec.structs.replace(config.trust, enabled=False))
    alone = [Subject(one.name, _alone(quiet, one), StrategyName.FASTEST) for one in chosen]
    return [*alone, *(Subject(f"pool {name.value}", quiet, name) for name in names)]


def timed_request(pool: Orchestrator, query: Query) -> Callable[[float], Awaitable[Sample]]:
    """Asks *query* once, and measures it."""

    async def ask(intended: float) -> Sample:
        loop = asyncio.get_running_loop()
        late = loop.time() - intended
        try:
            answer = await pool.infer(query, lambda _event: None)
        except LlmPoolError as error:
            return Sample(took=loop.time() - intended, error=error_code(error))
        return _sample(answer, late, loop.time() - intended)

    return ask


def _sample(answer: Answer, late: float, took: float) -> Sample:
    won = next((a for a in answer.decision.attempts if a.provider == answer.winner and a.reading is not None), None)
    if won is None:
        return Sample(took=took, agreement=answer.decision.agreement, degraded=answer.degraded)
    tokens = won.usage.completion_tokens
    return Sample(
        took=took,
        queued=late + won.started + won.queued,
        first_token=won.first_token,
        writing=won.writing,
        tokens=tokens,
        speed=tokens / won.duration if tokens and won.duration > 0 else None,
        agreement=answer.decision.agreement,
        degraded=answer.degraded,
    )


def _serving(config: Config, task: str) -> list[ProviderSettings]:
    bound = config.providers_for(task)
    regular = [one for one in config.active_providers if not one.last_resort]
    named = [one for one in regular if (one.name in bound if bound else not one.tasks or task in one.tasks)]
    return named or regular


def _provider(config: Config, name: str) -> ProviderSettings:
    known = known_provider(config, name)
    return next(one for one in config.active_providers if one.name == known)


def _strategies(config: Config, names: Sequence[str]) -> list[StrategyName]:
    if "all" in names:
        return [name for name in StrategyName if name not in config.ensemble.disabled]
    return [parse_strategy(name) for name in names]


def _alone(config: Config, provider: ProviderSettings) -> Config:
    """*config* with *provider* as its only one, serving every task."""
    only = msgspec.structs.replace(provider, tasks=(), last_resort=False)
    free = {name: msgspec.structs.replace(task, providers=()) for name, task in config.tasks.items()}
    return msgspec.structs.replace(config, providers=(only,), tasks=free)
