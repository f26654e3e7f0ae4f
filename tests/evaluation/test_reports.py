"""Reports hold all figures, and others' words only as text."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING

import msgspec

from llm_pool.evaluation.html import as_html
from llm_pool.evaluation.markdown import as_markdown
from llm_pool.evaluation.report import as_json
from tests.evaluation.conftest import Configure, evaluated, made_up

if TYPE_CHECKING:
    from llm_pool.evaluation.evaluate import Evaluation

EVIL = "<img src=x onerror=alert(1)>|`*[a](http://x)"


def evaluation(configure: Configure) -> Evaluation:
    answers = made_up(30)
    config = configure('[ensemble]\ndisabled = ["JUDGE"]\n')
    found = evaluated(config, answers)
    rows = tuple(
        msgspec.structs.replace(row, name=EVIL) if row.name == "small" else row for row in found.sections[0].rows
    )
    return msgspec.structs.replace(found, sections=(msgspec.structs.replace(found.sections[0], task=EVIL, rows=rows),))


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [name for name, _ in attrs if name in {"src", "href", "onerror"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_is_one_file_without_scripts_or_anything_from_elsewhere(configure: Configure) -> None:
    page = Elements()
    page.feed(as_html(evaluation(configure)))

    assert not {"script", "img", "iframe", "link"} & set(page.tags)
    assert page.links == []
    assert EVIL in page.text
    assert page.tags.count("tr") == 1 + 7


def test_markdown_shows_names_as_they_are(configure: Configure) -> None:
    text = as_markdown(evaluation(configure))

    assert "<img" not in text.replace("\\<img", "")
    row = next(line for line in text.splitlines() if line.startswith("| \\<img"))
    assert row.replace("\\|", "").count("|") == 9


def test_json_has_every_row_and_shares_between_0_and_1(configure: Configure) -> None:
    found = msgspec.json.decode(msgspec.json.encode(as_json(evaluation(configure))))

    rows = found["sections"][0]["rows"]
    assert len(rows) == 7
    assert all(0 <= row["right"]["low"] <= row["right"]["value"] <= row["right"]["high"] <= 1 for row in rows)
    assert found["sections"][0]["verdict"].endswith(".")
