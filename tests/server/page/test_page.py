"""The status page, in a browser."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.errors import ConfigError, LlmPoolError, Unauthenticated
from llm_pool.core.messages import Query, StrategyName
from llm_pool.security import ANONYMOUS, Principal
from llm_pool.server.daemon import Components
from llm_pool.server.middleware import AllowAll
from llm_pool.server.monitoring import Monitoring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from llm_pool.config import Config

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]
UNLOCK = "document.querySelector('#key').value = '%s'; document.querySelector('#key-form button').click()"
EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


class Locked(AllowAll):
    """Opens to one bearer key."""

    async def authenticate(self, headers: Sequence[tuple[bytes, bytes]], *_rest: object) -> Principal:
        if dict(headers).get(b"authorization") != b"Bearer sesame":
            raise Unauthenticated("credentials are needed here")
        return ANONYMOUS


@pytest.fixture
def shown(daemons: Any, config_for: Callable[..., Config], page: Any) -> Iterator[Callable[..., Any]]:
    """Starts daemons with a page that shows prompts."""
    seen: list[list[str]] = []

    @asynccontextmanager
    async def start(access: Any = None, **more: Any) -> AsyncIterator[Any]:
        monitoring = Monitoring(config_for("http://127.0.0.1:1", "[telemetry]\ncapture = true"))
        components = Components(
            access=access or AllowAll(), observers=monitoring.observers, extensions=(monitoring.add_routes,)
        )
        async with daemons(components=components, **more) as daemon:
            yield daemon
            seen.append([error for error in page.errors if "401" not in error])

    yield start
    assert seen == [[]] * len(seen)  # the console complained of nothing while the daemon was there


async def test_it_shows_how_the_pool_is(shown: Any, page: Any) -> None:
    """Verdict, providers with an open breaker, a request and its votes, the configuration and why one was refused."""
    async with shown() as daemon:
        daemon.upstream.set_mode("gemma2:9b", "error:500")
        for number in range(8):
            await daemon.manager.infer(Query(prompt=f"sky {number}?", strategy=StrategyName.CONSENSUS))
        daemon.manager.record_refused(
            ConfigError(path=None, key="qos.hedge", got="'fixt'", want="fixed, auto or off", line=12)
        )

        await page.open(f"{daemon.url}/")
        await page.until("document.querySelectorAll('#recent details').length === 8")
        parts = ("#verdict", "#providers", "#reload", "#facts")
        verdict, providers, reload, facts = [await page.text(part) for part in parts]
        await page.run(
            "document.querySelector('#recent details').open = true; document.querySelector('#config').open = true"
        )
        config = await page.until("document.querySelector('#config-toml').innerText")
        inside = await page.until("document.querySelector('#recent .inside')?.innerText")

    assert verdict.startswith("Degraded")
    assert "configuration 1" in facts
    assert "hedge budget" in facts
    assert "gemma2: breaker open" in verdict
    assert "next try in" in providers
    assert "qos.hedge, line 12" in reload
    assert "hedge_after_ms = 300" in config
    assert "sky 7?" in inside
    assert "Attempts" in inside
    assert all(url.startswith(daemon.url) for url in page.requested)


async def test_the_playground_shows_the_candidates_and_why_one_won(shown: Any, page: Any) -> None:
    """Side by side, the winner first."""
    async with shown() as daemon:
        await page.open(f"{daemon.url}/")
        await page.until("document.querySelectorAll('#task option').length")
        await page.run(
            "document.querySelector('#prompt').value = 'which colour?';"
            "document.querySelector('#strategy').value = 'CONSENSUS'; document.querySelector('#ask').click()"
        )
        await page.until("document.querySelector('.candidate.winner')")
        candidates = await page.run("[...document.querySelectorAll('.candidate')].map(node => node.innerText)")
        why = await page.text(".outcome")

    assert len(candidates) == 3
    assert all("heard: which colour?" in said for said in candidates)
    assert "won" in candidates[0]
    assert "won by" in why


async def test_a_request_in_flight_is_cancelled_with_a_click(shown: Any, page: Any) -> None:
    """And it is gone."""
    async with shown() as daemon:
        daemon.upstream.set_mode("*", "hang")
        asking = asyncio.create_task(daemon.manager.infer(Query(prompt="x", project_id="crawler")))
        await page.open(f"{daemon.url}/")
        await page.until("document.querySelector('#flight button')")
        row = await page.text("#flight .line")

        await page.run("document.querySelector('#flight button').click()")
        with pytest.raises(LlmPoolError, match="cancelled by the operator"):
            await asking
        await page.until("!document.querySelector('#flight button')")

    assert "crawler" in row


async def test_what_models_and_clients_write_stays_text(shown: Any, page: Any) -> None:
    """Markup in a prompt, an answer, a project or a task's name is shown as it was written."""
    async with shown(answer=lambda _ask: EVIL) as daemon:
        await daemon.manager.infer(Query(prompt=EVIL, project_id=EVIL, strategy=StrategyName.VOTING))
        with pytest.raises(LlmPoolError):
            await daemon.manager.infer(Query(prompt="x", task=EVIL))

        await page.open(f"{daemon.url}/")
        await page.until("document.querySelectorAll('#recent details').length === 2")
        await page.run(
            "document.querySelectorAll('#recent details').forEach(row => row.open = true);"
            f"document.querySelector('#prompt').value = {EVIL!r}; document.querySelector('#ask').click()"
        )
        await page.until("document.querySelector('.candidate.winner .text')?.textContent")
        await page.until("document.body.innerText.split('<script>document.title=').length > 4")
        elements, title = await page.run("[document.querySelectorAll('img, body script').length, document.title]")

    assert (elements, title.split()[0]) == (0, "Serving")


async def test_a_locked_daemon_asks_for_a_key(shown: Any, page: Any) -> None:
    """A wrong one is refused, the right one opens."""
    async with shown(Locked()) as daemon:
        await page.open(f"{daemon.url}/")
        await page.until("!document.querySelector('#key-form').hidden")
        await page.run(
            "document.querySelector('#key').value = 'wrong'; document.querySelector('#key-form button').click()"
        )
        await page.until("document.querySelector('#key-error').textContent")
        hidden = await page.run("document.querySelector('#content').hidden")
        await page.run(
            "document.querySelector('#key').value = 'sesame'; document.querySelector('#key-form button').click()"
        )
        await page.until("document.querySelectorAll('.card').length === 3")

    assert hidden


async def test_an_opened_request_stays_where_it_is(shown: Any, page: Any) -> None:
    """New ones wait behind a button, and what grows above it moves nothing."""
    async with shown() as daemon:
        for number in range(3):
            await daemon.manager.infer(Query(prompt=f"sky {number}?", strategy=StrategyName.VOTING))
        await page.open(f"{daemon.url}/")
        await page.until("document.querySelectorAll('#recent details').length === 3")
        await page.run("document.querySelectorAll('#recent details')[1].open = true; window.scrollTo(0, 400)")
        await page.until("document.querySelector('#recent .inside')?.innerText.includes('sky 1?')")
        before = await page.run(WHERE)

        daemon.upstream.set_mode("*", "hang")
        asking = [asyncio.create_task(daemon.manager.infer(Query(prompt=f"ground {n}?"))) for n in range(4)]
        with pytest.raises(LlmPoolError):
            await daemon.manager.infer(Query(prompt="ground?", task="nope"))
        await page.until("document.querySelectorAll('#flight .line').length === 4")
        said = await page.until(
            "document.querySelector('#newer').checkVisibility() && document.querySelector('#newer').innerText"
        )
        after, rows = await page.run(WHERE), await page.run("document.querySelectorAll('#recent details').length")
        await page.run("document.querySelector('#newer').click()")
        await page.until("document.querySelectorAll('#recent details').length === 4")
        still_open = await page.run("document.querySelectorAll('#recent details')[2].open")
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    assert said == "1 newer request"
    assert (after, rows) == (pytest.approx(before, abs=1), 3)
    assert still_open


WHERE = "document.querySelector('#recent details[open]').getBoundingClientRect().top"


async def test_the_list_is_paused_and_filtered(shown: Any, page: Any) -> None:
    """By outcome, strategy, task and words, which may stand in the prompt where prompts are kept."""
    async with shown() as daemon:
        await daemon.manager.infer(Query(prompt="how blue is the sky?", strategy=StrategyName.VOTING))
        await daemon.manager.infer(Query(prompt="how green is the grass?", task="expand_queries"))
        with pytest.raises(LlmPoolError):
            await daemon.manager.infer(Query(prompt="how deep is the sea?", task="nope"))
        await page.open(f"{daemon.url}/")
        await page.until("document.querySelectorAll('#recent details').length === 3")
        prompt = await page.text("#recent details")

        found = {
            (field, value): await page.run(FILTER % (field, value))
            for field, value in (
                ("text", "GRASS how"),
                ("strategy", "VOTING"),
                ("outcome", "failed"),
                ("task", "expand_queries"),
                ("text", "moon"),
            )
        }
        empty = await page.text("#recent-empty")
        await page.run("document.querySelector('#pause').click()")
        await daemon.manager.infer(Query(prompt="and now?"))
        await page.until("document.querySelector('#newer').checkVisibility()")
        paused = await page.run("document.querySelectorAll('#recent details').length")
        await page.run("document.querySelector('#pause').click()")
        await page.until("document.querySelectorAll('#recent details').length === 4")

    assert "how deep is the sea?" in prompt
    assert found == {
        ("text", "GRASS how"): ["expand_queries"],
        ("strategy", "VOTING"): ["ask"],
        ("outcome", "failed"): ["nope"],
        ("task", "expand_queries"): ["expand_queries"],
        ("text", "moon"): [],
    }
    assert empty == "None of them fits the filter."
    assert paused == 3


FILTER = """
((name, value) => {
  for (const each of ["text", "task", "strategy", "outcome"]) {
    const field = document.querySelector(`#filter-${each}`);
    field.value = each === name ? value : "";
    field.dispatchEvent(new Event("input"));
  }
  const shown = [...document.querySelectorAll("#recent details")].filter((row) => row.checkVisibility());
  return shown.map((row) => row.querySelector(".who").firstChild.data);
})("%s", "%s")
"""


async def test_the_list_is_one_stop_of_the_keyboard(shown: Any, page: Any) -> None:
    """Arrows move in it, and a link at the top leads to it."""
    async with shown() as daemon:
        for number in range(5):
            await daemon.manager.infer(Query(prompt=f"sky {number}?"))
        await page.open(f"{daemon.url}/")
        await page.until("document.querySelectorAll('#recent details').length === 5")
        stops = await page.run("[...document.querySelectorAll('#recent summary')].map(row => row.tabIndex)")
        await page.press("Tab")
        first = await page.run("document.activeElement.getAttribute('href')")
        await page.press("Enter")
        await page.run("document.querySelector('#recent summary').focus()")
        await page.press("ArrowDown")
        await page.press("ArrowDown")
        focused = await page.run("document.activeElement.innerText")
        stops_then = await page.run("[...document.querySelectorAll('#recent summary')].map(row => row.tabIndex)")

    assert stops == [0, -1, -1, -1, -1]
    assert first == "#recent-title"
    assert "sky 2?" in focused
    assert stops_then == [-1, -1, 0, -1, -1]


async def test_charts_of_the_last_hour_have_axes(shown: Any, page: Any) -> None:
    """Five of them; what is shown is told in words, too."""
    async with shown() as daemon:
        await page.open(f"{daemon.url}/")
        nothing = await page.until("document.querySelector('#hour')?.innerText")
        await daemon.manager.infer(Query(prompt="sky?", strategy=StrategyName.VOTING))
        await page.open(f"{daemon.url}/")
        await page.until("document.querySelectorAll('.chart').length === 5")
        charts = await page.run(
            "[...document.querySelectorAll('.chart')].map(node => [node.querySelector('h3').innerText,"
            " node.querySelector('svg').getAttribute('aria-label'), node.querySelectorAll('svg > text').length,"
            " node.querySelectorAll('rect, circle').length])"
        )

    assert nothing == "Nothing was asked in the last hour."
    assert [title for title, *_ in charts] == [
        "Requests a minute",
        "Time to the answer",
        "Tokens a second",
        "Wins a minute",
        "Tokens a minute",
    ]
    assert charts[0][1] == "Requests a minute, the last hour: 1 in the hour, 0 failed"
    assert all(labels >= 3 + 4 for _, _, labels, _ in charts)
    assert all(marks >= 1 for _, _, _, marks in charts)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
async def test_it_fits_its_window_and_can_be_read(shown: Any, page: Any, width: int, dark: bool) -> None:
    """Nothing sticks out at the side; text has a contrast of 4.5 to what is behind it (WCAG 2.2, AA)."""
    async with shown() as daemon:
        await daemon.manager.infer(Query(prompt="a" * 300, project_id="p" * 200, strategy=StrategyName.VOTING))
        daemon.upstream.set_mode("*", "error:500")
        with pytest.raises(LlmPoolError):
            await daemon.manager.infer(Query(prompt="x"))
        await page.open(f"{daemon.url}/", width=width, dark=dark)
        await page.until("document.querySelectorAll('#recent details').length === 2")
        await page.run("document.querySelectorAll('details').forEach(row => row.open = true)")
        await page.until("document.querySelector('#config-toml').innerText")
        sideways = await page.run("document.documentElement.scrollWidth")
        poor = await page.run(CONTRAST)

    assert sideways == width
    assert poor == []


CONTRAST = """
(() => {
  const parse = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.99) return colour;
    }
  };
  return [...document.querySelectorAll("body *")].filter((node) =>
    node.checkVisibility() && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())
  ).flatMap((node) => {
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    return ratio < 4.5 ? [`${node.className || node.tagName} ${ratio.toFixed(2)}: ${node.textContent}`] : [];
  });
})()
"""
