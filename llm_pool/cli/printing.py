"""How an answer is printed: as text while it comes, as one JSON object at the end, or as an event a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from llm_pool.core.events import TextArrived
from llm_pool.wire.json import EventEncoder, answer_json, attempt_json, decision_json

if TYPE_CHECKING:
    from llm_pool.cli.console import Console
    from llm_pool.core.events import Event
    from llm_pool.core.messages import Answer
    from llm_pool.wire.json import StreamEvent

Output: TypeAlias = Literal["text", "json", "jsonl", "candidates"]


class Printer(Protocol):
    """Prints one request on stdout."""

    def on(self, event: Event) -> None:
        """Something happened."""

    def finish(self, answer: Answer) -> None:
        """The answer is there."""


def printer_for(output: Output, console: Console, *, stream: bool) -> Printer:
    """The printer of one output format."""
    if output in {"json", "candidates"}:
        return JsonPrinter(console, candidates=output == "candidates")
    if output == "jsonl":
        return EventPrinter(console)
    return TextPrinter(console, stream=stream)


class TextPrinter:
    """The text alone; where *stream*, as soon as it is certain whose text the answer is."""

    def __init__(self, console: Console, *, stream: bool) -> None:
        self._console, self._stream = console, stream
        self._printed = ""

    def on(self, event: Event) -> None:
        """Print a committed piece of text."""
        if self._stream and isinstance(event, TextArrived) and event.committed:
            self._printed += event.text
            self._console.out(event.text, end="")

    def finish(self, answer: Answer) -> None:
        """Print what was not streamed, and end the line."""
        if self._printed:
            self._console.out("" if self._printed.endswith("\n") else "\n", end="")
        if self._printed.strip() != answer.content.strip():
            if self._printed:  # a model that wrote its reasoning as text, and closed it with a tag
                self._console.say("note: what is printed above was reasoning; the answer is below")
            self._console.out(answer.content)


class JsonPrinter:
    """One object at the end; with *candidates* each attempt has its ``text``, null where it gave no answer."""

    def __init__(self, console: Console, *, candidates: bool = False) -> None:
        self._console, self._candidates = console, candidates

    def on(self, event: Event) -> None:
        """Wait for the end."""

    def finish(self, answer: Answer) -> None:
        """Print the whole answer."""
        whole = answer_json(answer)
        if self._candidates:
            attempts = answer.decision.attempts
            texts = [None if attempt.reading is None else attempt.reading.content for attempt in attempts]
            told = decision_json(answer.decision)
            told["attempts"] = [attempt_json(one) | {"text": text} for one, text in zip(attempts, texts, strict=True)]
            whole["decision"] = told
        self._console.json(whole)


class EventPrinter:
    """What ``wire.json.EventEncoder`` tells, a line each, last the answer."""

    def __init__(self, console: Console) -> None:
        self._console, self._encoder = console, EventEncoder()

    def on(self, event: StreamEvent) -> None:
        """Print what is told of the event."""
        for payload in self._encoder.encode(event):
            self._console.line(payload)

    def finish(self, answer: Answer) -> None:
        """Print the answer's line."""
        self.on(answer)
