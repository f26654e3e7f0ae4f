"""What is checked in of a run: results as JSON, and from them the table and the lines in ``docs/clients.md``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.clients.catalog import CELLS, load
from bench.clients.running import Result  # noqa: TC001  # msgspec reads the annotation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.clients.catalog import Client

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "clients.md"
RESULTS = ROOT / "bench" / "results" / "clients.json"
SECTION = re.compile(r"(<!-- clients: made by bench/clients -->\n).*?(<!-- clients: end -->\n)", re.DOTALL)
HEADS = {
    "plain": "plain", "stream": "stream", "structured": "structured", "tools": "tools", "error": "error",
    "embeddings": "embed", "thinking": "thinking", "images": "images", "leave": "leaves",
}  # fmt: skip
WORDS = {
    "python": "In Python",
    "js": "In JavaScript",
    "sh": "In the shell",
    "toml": "In its TOML file",
    "json": "In its JSON file",
}


class Run(msgspec.Struct):
    """
    Results as they are checked in.

    Attributes:
        date: of the last of them, as ``2026-11-25``.
        machine: and the versions of Python and Node.
        results: by client.
    """

    date: str
    machine: str
    results: dict[str, Result]


def kept() -> Run:
    """The results that are checked in."""
    if not RESULTS.exists():
        return Run("", "", {})
    return msgspec.json.decode(RESULTS.read_bytes(), type=Run)


def write(run: Run) -> None:
    """Check in *run*, and write the page anew."""
    ordered = Run(run.date, run.machine, dict(sorted(run.results.items())))
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(ordered), indent=2) + b"\n")
    PAGE.write_text(paged(PAGE.read_text(encoding="utf-8"), section(load(), ordered)), encoding="utf-8")


def paged(page: str, made: str) -> str:
    """*page* with *made* in the place of what was made before."""
    return SECTION.sub(lambda found: found[1] + made + found[2], page)


def section(clients: Iterable[Client], run: Run) -> str:
    """The table, its notes, and how each client is configured."""
    listed = [client for client in clients if client.key in run.results]
    head = f"Seen on {run.date} ({run.machine}).\n"
    return "\n".join([head, *table(listed, run), "", *_notes(listed, run), *_configurations(listed)]) + "\n"


def table(clients: Iterable[Client], run: Run) -> list[str]:
    """A row for each client, a column for each cell."""
    rows = [f"| client | version | {' | '.join(HEADS[cell] for cell in CELLS)} |", f"|---|---|{':-:|' * len(CELLS)}"]
    for client in clients:
        result = run.results[client.key]
        marks = (_mark(client, result, cell) for cell in CELLS)
        rows.append(f"| {client.name} | {result.version} | {' | '.join(marks)} |")
    return rows


def _mark(client: Client, result: Result, cell: str) -> str:
    if cell in client.absent:
        return "—"
    return "✗" if result.cells.get(cell, "not tried") else "✓"


def _notes(clients: Iterable[Client], run: Run) -> list[str]:
    """For each client what it speaks, what it does beside the columns, what fails, and why a cell is empty."""
    lines = []
    for client in clients:
        result = run.results[client.key]
        said = [f"{client.speaks}."]
        said += [f"Also {what}: {'✗' if result.cells.get(cell) else '✓'}." for cell, what in client.further.items()]
        said += [f"✗ {cell}: {why}." for cell, why in result.cells.items() if why]
        said += [f"— {cell}: {why}." for cell, why in client.absent.items()]
        lines.append(f"- **{client.name}**: {' '.join(said)}")
    return [*lines, ""]


def _configurations(clients: Iterable[Client]) -> list[str]:
    lines = ["### How each is pointed at the pool", ""]
    for client in clients:
        language, text = client.configuration
        lines += [f"**{client.name}**", "", f"```{language}", text, "```", ""]
    return lines[:-1]
