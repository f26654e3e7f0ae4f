"""An observer that remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from llm_pool.core.events import Event

E = TypeVar("E")


class RecordingObserver:
    """Keeps every event in order, in ``events``; ``on`` also serves as an ``Emit``."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on(self, event: Event) -> None:
        """Remember *event*."""
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]
