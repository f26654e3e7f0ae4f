"""Fields of a request that the pool does not serve: they go to the one provider that is asked, or are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from llm_pool.providers.sampling_fields import TAKEN
from llm_pool.server.queries import decode

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from llm_pool.config import Config
    from llm_pool.core.messages import Json
    from llm_pool.server.chat import Model


MAX_NAME = 100
"""Characters of a field's name that is told as ignored."""


class Unserved(NamedTuple):
    """Fields that go on to the provider, and names of those that go nowhere."""

    passed: dict[str, Json]
    ignored: list[str]


def fields_beyond(body: bytes, served: Container[str]) -> dict[str, Json]:
    """The fields of *body*, a JSON object, that are not *served* and say something; raises InvalidRequest."""
    sent: dict[str, msgspec.Raw] = decode(body, dict[str, msgspec.Raw])
    return {name: decode(bytes(raw), Any) for name, raw in sent.items() if name not in served and bytes(raw) != b"null"}


def unserved(beyond: Mapping[str, Json], model: Model, config: Config) -> Unserved:
    """What becomes of the fields *beyond* those that the pool serves, where *model* is asked."""
    drivers = {settings.name: settings.driver for settings in config.active_providers}
    takes = TAKEN.get(drivers[model.providers[0]], {}) if len(model.providers) == 1 else {}
    passed = {name: value for name, value in beyond.items() if name in takes}
    return Unserved(passed, [name[:MAX_NAME] for name in beyond if name not in passed])
