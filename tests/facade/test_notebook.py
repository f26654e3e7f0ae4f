"""An answer in a notebook: what it shows, and that strangers' text stays text."""

from __future__ import annotations

from html.parser import HTMLParser

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.messages import Attempt, Cluster, Decision, Reading, StrategyName
from llm_pool.facade.answer import Answer, with_value
from llm_pool.facade.notebook import MAX_TEXT
from llm_pool.testing import an_answer

TAGS = {"div", "table", "tr", "th", "td", "br"}


class Page(HTMLParser):
    """The tags, attributes and text of some HTML; raises where tags do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "br":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def answered(text: str = "yes", *, json: object = None) -> Answer[None]:
    attempts = (
        Attempt(
            provider="a",
            model="m",
            outcome="ok",
            started=0.0,
            duration=0.5,
            ttft=0.1,
            why="vote",
            reading=Reading(text, json),
        ),
        Attempt(provider="b", model="n", outcome="failed", started=0.1, duration=2.0, why="vote", error=text),
    )
    decision = Decision(
        asked=StrategyName.VOTING,
        used=StrategyName.VOTING,
        winner="a",
        model="m",
        reading=Reading(text, json),
        reason=text,
        attempts=attempts,
        clusters=(Cluster(("a",), 1.0, ""),),
        agreement=0.5,
        notes=(text,),
    )
    return with_value(msgspec.structs.replace(an_answer(), content=text, json=json, decision=decision), None)


def test_it_shows_the_answer_its_votes_and_its_attempts() -> None:
    text = Page(answered()._repr_html_()).text

    assert text.startswith("yes")
    assert "agreement 0.50" in text
    assert "★ a" in text
    assert "ok, 500 ms, first token 100 ms" in text
    assert "failed, 2.00 s" in text


def test_json_is_laid_out() -> None:
    assert '{\n  "name": "Ada"\n}' in Page(answered("{}", json={"name": "Ada"})._repr_html_()).text


@given(st.text(max_size=60) | st.sampled_from(["<script>alert(1)</script>", "</div><img src=x onerror=y>", '"><b a="']))
def test_what_models_say_stays_text(text: str) -> None:
    """No tag, attribute or address but our own."""
    page = Page(answered(text)._repr_html_())

    assert page.tags <= TAGS
    assert page.attributes <= {"style", "scope"}


def test_a_long_answer_is_cut() -> None:
    assert len(answered("x" * 10**6)._repr_html_()) < 4 * MAX_TEXT
