"""The effective configuration: the file that is used, and the models of this machine that stand in for missing ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llm_pool.config import find, load

if TYPE_CHECKING:
    from llm_pool.config import Config
    from llm_pool.config.locations import ConfigLocation


class EffectiveConfig(NamedTuple):
    """A configuration, and the line that says what was found for it; empty where nothing was."""

    config: Config
    note: str = ""


def effective_config(place: ConfigLocation | None = None) -> EffectiveConfig:
    """
    The configuration at *place*, with models of this machine where they may stand in.

    Args:
        place: a file; None: the one that is used.

    Raises:
        ConfigError: the file cannot be used.
    """
    place = place or find()
    config = load(place.path)
    if place.asked or not config.discovery.enabled:
        return EffectiveConfig(config)
    from llm_pool.discovery import effective

    finding = effective(config)
    return EffectiveConfig(finding.config, finding.note)
