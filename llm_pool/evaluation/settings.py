"""The person's configuration, changed where an evaluation must not be what daily use is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from llm_pool.config import Hedge

if TYPE_CHECKING:
    from llm_pool.config import Config

_replace = msgspec.structs.replace

NEVER: Final = 1 << 30
"""Results that a breaker would need before it opens: recorded failures stay where they happened."""


def for_asking(config: Config, patience: float) -> Config:
    """
    To ask with: every provider once and alone, with *patience* seconds for each answer, and nothing learned or kept.

    What is too slow for the configured deadline is found out when it is said again under that deadline.
    """
    span = round(patience * 1000)
    providers = tuple(
        _replace(one, retries=0, timeout_ms=None if one.timeout_ms is None else max(one.timeout_ms, span))
        for one in config.providers
    )
    return _replace(
        _isolated(config),
        providers=providers,
        qos=_replace(config.qos, max_deadline_ms=span, hedge=Hedge.OFF, queue_limit=max(config.qos.queue_limit, 256)),
        judge=_replace(config.judge, deadline_ms=span),
        ensemble=_replace(config.ensemble, disabled=()),
    )


def for_deciding(config: Config, judges: tuple[str, ...]) -> Config:
    """
    To decide with, in virtual time: deadlines, hedges, groups and strategies as configured.

    Args:
        config: the person's.
        judges: who judged when the answers were recorded; empty: as configured.
    """
    consensus = _replace(config.ensemble.consensus, entailment=False)  # what a model says of two texts is not recorded
    changed = _replace(
        _isolated(config),
        ensemble=_replace(config.ensemble, consensus=consensus),
    )
    return _replace(changed, judge=_replace(config.judge, model_provider=judges)) if judges else changed


def _isolated(config: Config) -> Config:
    """No cache, no trust file, no breaker: no question changes what becomes of another."""
    return _replace(
        config,
        cache=_replace(config.cache, enabled=False),
        trust=_replace(config.trust, enabled=False),
        breaker=_replace(config.breaker, window_size=NEVER, min_calls=NEVER),
        security=_replace(config.security, redis_url=None),
    )
