"""One command line from its words to its exit code: what becomes of an error, and of Ctrl-C."""

from __future__ import annotations

import os
import re
import sys
from itertools import zip_longest
from typing import TYPE_CHECKING, cast

import click

from llm_pool.cli.command import Session, usage_error
from llm_pool.cli.commands import root_command
from llm_pool.cli.completion import VARIABLE, answer_shell
from llm_pool.cli.console import ColorMode, Console, MessageFormat, PipeClosed
from llm_pool.cli.exit_codes import ExitCode, exit_code_for
from llm_pool.core.errors import LlmPoolError

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXTRAS = {
    "fastapi": "server",
    "google": "server",
    "grpc": "server",
    "httpx2": "client",
    "jwt": "server",
    "matplotlib": "plots",
    "opentelemetry": "otel",
    "prometheus_client": "server",
    "redis": "redis",
    "starlette": "server",
    "uvicorn": "server",
    "watchfiles": "server",
}
"""The extra that brings a package."""
_SYSTEM_PACKAGES = {"libstdc++": "libstdc++6", "libgomp": "libgomp1", "libgcc_s": "libgcc-s1"}
"""The Debian package that brings a library of the system."""


def run(argv: Sequence[str]) -> int:
    """
    Run one command line.

    Returns:
        An exit code of ``cli.exit_codes``.
    """
    console = Console(color=_color(argv), message_format=_message_format(argv))
    try:
        return _run(argv, console)
    except LlmPoolError as error:
        return _told(error, console)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        return _told(usage_error(error), console)
    except KeyboardInterrupt:
        console.say("\ninterrupted" if console.is_live else "interrupted")
        return ExitCode.INTERRUPTED
    except (PipeClosed, BrokenPipeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):  # else Python complains at its own exit
            os.dup2(nowhere, stream.fileno())
        return ExitCode.OK
    except ModuleNotFoundError as error:
        return _missing_package(error, console)
    except ImportError as error:
        return _missing_library(error, console)
    except Exception as error:  # noqa: BLE001  # the last stop: a person gets a sentence, the report gets the traceback
        return _report(error, console)


def _run(argv: Sequence[str], console: Console) -> int:
    root = root_command()
    if instruction := os.environ.get(VARIABLE):
        return answer_shell(root, instruction)
    try:
        with root.make_context("llm-pool", list(argv), obj=Session(console)) as ctx:
            return int(root.invoke(ctx))
    except SystemExit as ended:  # Typer's options for completion end so
        return int(ended.code or 0)


def _told(error: LlmPoolError, console: Console) -> ExitCode:
    code = exit_code_for(error)
    console.error(error, code)
    return code


def _message_format(argv: Sequence[str]) -> MessageFormat:
    """How errors are told, known before anything is parsed: even a usage error is JSON for who asked for JSON."""
    return "json" if {"--json", "--jsonl"} & set(argv) else "text"


def _color(argv: Sequence[str]) -> ColorMode:
    """What is said of colour, known before anything is parsed: help and usage errors follow it too."""
    said: ColorMode = "auto"
    for word, after in zip_longest(argv, argv[1:], fillvalue=""):
        name, _, value = word.partition("=")
        if word == "--no-color":
            said = "never"
        elif name == "--color" and (value or after) in {"auto", "always", "never"}:
            said = cast(ColorMode, value or after)
    return said


def _missing_package(error: ModuleNotFoundError, console: Console) -> ExitCode:
    """A package that only some commands need is not installed: say which extra brings it."""
    extra = _EXTRAS.get((error.name or "").partition(".")[0])
    if extra is None:
        return _report(error, console)
    missing = LlmPoolError(
        f"this needs the package '{error.name}', which is not installed", hint=f"pip install 'llm-pool[{extra}]'"
    )
    console.error(missing, ExitCode.CONFIG)
    return ExitCode.CONFIG


def _missing_library(error: ImportError, console: Console) -> ExitCode:
    """A library of the system that a package is linked with is missing, as on slim images: say which, and whose."""
    found = re.match(r"(lib[\w+.-]+?\.so[.\d]*): cannot open shared object file", str(error))
    if found is None:
        return _report(error, console)
    package = _SYSTEM_PACKAGES.get(found[1].partition(".")[0], "")
    missing = LlmPoolError(
        f"the system library {found[1]} is missing, which '{error.name or 'a package'}' needs",
        hint=f"apt-get install {package}   (Alpine: apk add {package.rstrip('6')})" if package else "install it",
    )
    console.error(missing, ExitCode.CONFIG)
    return ExitCode.CONFIG


def _report(error: Exception, console: Console) -> ExitCode:
    """Keep the traceback in a file, so that the terminal shows one line."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="llm-pool-crash-", suffix=".txt", delete=False) as file:
        file.writelines(traceback.format_exception(error))
    bug = LlmPoolError(f"a bug in llm-pool: {type(error).__name__}: {error}", hint=f"please report it with {file.name}")
    console.error(bug, ExitCode.BUG)
    return ExitCode.BUG
