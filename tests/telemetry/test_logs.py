from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.config import LogFormat
from llm_pool.core.errors import AllProvidersFailed, ConfigError
from llm_pool.core.events import AccessDenied, BreakerChanged, Reloaded, RequestAnswered, RequestFailed
from llm_pool.core.messages import Query
from llm_pool.telemetry.logs import JsonLines, Pretty, RequestLog, set_up
from llm_pool.testing import an_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llm_pool.core.events import Event

NASTY = 'a\nb\r\x1b[31mred\x9b2J\u2028line\u202eback\x00 "quoted"'


@pytest.fixture
def lines() -> Iterator[Callable[..., list[str]]]:
    """What is written, by line, when an observer is told of events."""
    out = io.StringIO()
    undo = set_up(LogFormat.JSON, out)

    def written(*events: Event, prompts: bool = False) -> list[str]:
        log = RequestLog(prompts=prompts)
        for event in events:
            log.on(event)
        for handler in logging.getLogger("llm_pool").handlers:
            handler.flush()
        return out.getvalue().splitlines()

    yield written
    undo()


def only(written: list[str]) -> Any:
    (line,) = written
    return json.loads(line)


def test_an_answer_is_one_line_with_the_promised_fields(lines: Callable[..., list[str]]) -> None:
    """Named as operators search for them."""
    query = Query(prompt="secret", task="ask", tenant_id="acme", project_id="web")

    line = only(lines(RequestAnswered(query, an_answer("blue", degraded=True))))

    assert line["level"] == "info"
    expected = {"request_id": "r1", "tenant": "acme", "project": "web", "task": "ask", "strategy": "FASTEST"}
    assert expected.items() <= line.items()
    assert line["winner_model"] == "phi3:mini"
    assert (line["duration_ms"], line["from_cache"], line["degraded"]) == (500.0, False, True)


def test_prompts_and_answers_stay_out_unless_switched_on(lines: Callable[..., list[str]]) -> None:
    """Nor do they come in with an error."""
    answered = RequestAnswered(Query(prompt="my secret prompt"), an_answer("my secret answer"))
    refused = RequestFailed(Query(prompt="my secret prompt"), AllProvidersFailed("ask"), 0.1)

    assert not any("secret" in line for line in lines(answered, refused))
    assert "my secret prompt" in lines(answered, prompts=True)[-1]


def test_an_error_is_told_by_its_code(lines: Callable[..., list[str]]) -> None:
    """The code is that of the JSON body."""
    line = only(lines(RequestFailed(Query(prompt="x"), AllProvidersFailed("ask"), 0.25)))

    assert (line["level"], line["error"], line["duration_ms"]) == ("warning", "all_providers_failed", 250.0)


def test_a_refused_configuration_is_told_with_line_and_key(lines: Callable[..., list[str]]) -> None:
    """The good one says its generation."""
    error = ConfigError(path=None, key="qos.hedge", got="x", want="fixed", line=7)

    line = only(lines(Reloaded(3, error)))

    assert (line["message"], line["level"], line["key"], line["line"]) == ("reload refused", "error", "qos.hedge", 7)


def test_breakers_and_strangers_have_lines_of_their_own(lines: Callable[..., list[str]]) -> None:
    """An open breaker is a warning."""
    told = [
        json.loads(line) for line in lines(BreakerChanged("phi3", "ask", "closed", "open"), AccessDenied("bad_key"))
    ]

    assert [(line["message"], line["level"]) for line in told] == [("breaker", "warning"), ("access denied", "warning")]


@given(st.text())
@pytest.mark.parametrize("formatter", [JsonLines(), Pretty()], ids=["json", "pretty"])
def test_a_line_is_one_line_whatever_is_in_it(formatter: logging.Formatter, text: str) -> None:
    """And a terminal finds nothing in it to act upon."""
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", (NASTY + text,), None)
    record.fields = {"project": text + NASTY, "count": None}

    line = formatter.format(record)

    assert len(line.splitlines()) == 1
    assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 or sign in "\u2028\u2029\u202e" for sign in line)
    line.encode()


def test_a_traceback_stays_on_the_line_in_json() -> None:
    """It is a field."""
    error = ValueError("boom\nboom")
    record = logging.LogRecord("x", logging.ERROR, "", 0, "a bug", (), (ValueError, error, None))

    line = JsonLines().format(record)

    assert "\n" not in line
    assert "boom" in msgspec.json.decode(line)["traceback"]


def test_auto_is_pretty_on_a_terminal_only() -> None:
    """A pipe gets JSON."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for out, is_json in ((Terminal(), False), (io.StringIO(), True)):
        undo = set_up(LogFormat.AUTO, out)
        RequestLog().on(Reloaded(1))
        undo()

        assert out.getvalue().startswith("{") is is_json
        assert "serving" in out.getvalue()
