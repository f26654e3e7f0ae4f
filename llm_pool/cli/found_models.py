"""The models found on this machine, for ``config init``: written down as they are, or as a person chooses."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from llm_pool.cli.console import escaped
from llm_pool.cli.progress import amount
from llm_pool.config import builtin_config, load, starter
from llm_pool.core.errors import InvalidRequest
from llm_pool.discovery import Finding, choosing, find_models, standing_in
from llm_pool.discovery.servers import servers_to_ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.cli.console import Console
    from llm_pool.discovery.models import FoundModel

MOST = 8
"""Models that a person may choose: a larger panel costs more time than it is worth on one machine."""


def starting_text(console: Console, *, full: bool, interactive: bool) -> str:
    """
    The file that ``config init`` writes: the built-in one with the models of this machine, said on stderr.

    Raises:
        InvalidRequest: *interactive*, and nobody is there to choose, or nothing to choose from.
    """
    builtin = load(builtin_config(), env={})
    servers = servers_to_ask(os.environ)
    models = find_models(servers, builtin.discovery.timeout)
    finding = standing_in(builtin, models, servers)
    if interactive and (chosen := _chosen(models, finding, console)):
        finding = choosing(builtin, chosen)
    for model in finding.models:
        console.say(f"found {escaped(_shown(model))}")
    if not models:
        console.say("no model was found on this machine: the file names those that llm-pool models pull fetches")
    if full:
        return starter.full(finding.config)
    if finding.config == builtin:
        return starter.short()
    return starter.with_providers(finding.config, _remarks(finding))


def _chosen(models: Sequence[FoundModel], finding: Finding, console: Console) -> list[FoundModel]:
    """The models whose numbers a person types; none: what *finding* has is good."""
    if not sys.stdin.isatty():
        raise InvalidRequest("--interactive", "nobody is here to choose", hint="llm-pool config init")
    if not models:
        raise InvalidRequest("--interactive", "no model was found on this machine", hint="ollama serve")
    proposed = finding.models or tuple(models)
    for number, model in enumerate(models, 1):
        mark = "*" if model in proposed else " "
        print(f"{number:>3} {mark} {escaped(_shown(model))}", file=sys.stderr)  # noqa: T201  # talk, not data
    while True:
        print("numbers, or Enter for those with *: ", end="", file=sys.stderr, flush=True)  # noqa: T201
        line = sys.stdin.readline()
        if not line:
            raise InvalidRequest("--interactive", "nothing was chosen", hint="llm-pool config init")
        numbers = line.replace(",", " ").split()
        if all(number.isascii() and number.isdigit() and 0 < int(number[:9]) <= len(models) for number in numbers):
            picked = list(dict.fromkeys(map(int, numbers)))
            if len(picked) <= MOST:
                return [models[number - 1] for number in picked]
        console.say(f"up to {MOST} numbers from 1 to {len(models)}, e.g. 1 2")


def _remarks(finding: Finding) -> dict[str, str]:
    """What the file says of each found provider, by its name."""
    shown = {(model.url, model.name): f"Found on this machine: {_shown(model)}." for model in finding.models}
    names = ((one.name, (str(one.base_url), one.model)) for one in finding.config.providers)
    return {name: " ".join(shown[key].split()) for name, key in names if key in shown}


def _shown(model: FoundModel) -> str:
    size = f", {amount(model.size)}" if model.size is not None else ""
    return f"{model.name} on {model.server}{size}"
