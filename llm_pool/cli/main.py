"""
The command line's root: which commands there are, and what becomes of an error.

A command's module is imported when the command is used, and a module imports what is heavy inside its functions:
``--help`` and ``--version`` stay quick.
"""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from llm_pool import __version__
from llm_pool.cli.console import Console, MessageFormat, PipeClosed
from llm_pool.cli.exit_codes import ExitCode, exit_code_for
from llm_pool.cli.parsing import Command, Group, HelpRequested, columns, help_text
from llm_pool.core.errors import InvalidRequest, LlmPoolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COMMANDS = {
    "infer": "ask a question, or one a line",
    "models": "list, pull, show and remove models",
    "health": "the state of each provider, and what to type next",
    "serve": "the pool as a daemon, over HTTP and gRPC",
    "bench": "how fast providers and strategies are",
    "keys": "keys for clients of the daemon",
    "feedback": "say whether an answer was right",
    "config": "what is configured, where, and what a key means",
    "completions": "names for the Tab key of bash, zsh and fish",
}
"""In the order of ``--help``; each is ``COMMAND`` in the module of its name."""

_ABOUT = "One question to several local language models at once, one answer."
_EXAMPLES = (
    'llm-pool infer "Is 17 prime?"',
    'llm-pool infer --task expand_queries "cinematic lounge videos"',
    "cat report.txt | llm-pool infer 'Sum it up in one line.'",
    "llm-pool health",
)


class ResolvedCommand(NamedTuple):
    """A command line taken apart: the command, the words before its own, and its own."""

    command: Command
    before: str
    words: Sequence[str]


_EXTRAS = {
    "fastapi": "server",
    "google": "server",
    "grpc": "server",
    "httpx2": "client",
    "jwt": "server",
    "opentelemetry": "otel",
    "prometheus_client": "server",
    "redis": "redis",
    "starlette": "server",
    "uvicorn": "server",
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
    console = Console(message_format=_message_format(argv))
    try:
        return _run(argv, console)
    except HelpRequested as resolved:
        console.help(str(resolved))
        return ExitCode.OK
    except LlmPoolError as error:
        code = exit_code_for(error)
        console.error(error, code)
        return code
    except KeyboardInterrupt:
        console.say("\ninterrupted" if console.is_live else "interrupted")
        return ExitCode.INTERRUPTED
    except PipeClosed:
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


def resolve(argv: Sequence[str]) -> ResolvedCommand:
    """
    The command that *argv* names.

    Raises:
        HelpRequested: it names a group, or nothing.
        InvalidRequest: there is no such command.
    """
    name, *words = argv or ["--help"]
    if name in {"-h", "--help"}:
        raise HelpRequested(root_help())
    command = load_command(_known(name, COMMANDS, "llm-pool"))
    if isinstance(command, Command):
        return ResolvedCommand(command, "llm-pool", words)
    before = f"llm-pool {name}"
    if not words or words[0] in {"-h", "--help"}:
        raise HelpRequested(group_help(command))
    children = {child.name: child for child in command.commands}
    return ResolvedCommand(children[_known(words[0], children, before)], before, words[1:])


def load_command(name: str) -> Command | Group:
    """The command *name* of COMMANDS, imported."""
    command: Command | Group = import_module(f"llm_pool.cli.{name}").COMMAND
    return command


def root_help() -> str:
    """The page of ``llm-pool --help``."""
    exits = columns((str(code.value), code.meaning) for code in ExitCode)
    rest = f"commands:\n{columns(COMMANDS.items())}\n\nexit codes:\n{exits}"
    return help_text(_ABOUT, _EXAMPLES, "usage: llm-pool COMMAND [OPTIONS]  (COMMAND --help says more)", rest)


def group_help(group: Group) -> str:
    """The page of a group, e.g. ``llm-pool models --help``."""
    rest = "commands:\n" + columns((child.name, child.about) for child in group.commands)
    usage = f"usage: llm-pool {group.name} COMMAND [OPTIONS]  (COMMAND --help says more)"
    return help_text(group.about, group.examples, usage, rest)


def _run(argv: Sequence[str], console: Console) -> int:
    if list(argv[:1]) == ["--version"]:
        console.out(f"llm-pool {__version__}")
        return ExitCode.OK
    resolved = resolve(argv)
    args = resolved.command.parser(resolved.before).read(resolved.words)
    console.color, console.quiet = args.color, args.quiet
    return resolved.command.run(args, console)


def _message_format(argv: Sequence[str]) -> MessageFormat:
    """How errors are told, known before anything is parsed: even a usage error is JSON for who asked for JSON."""
    return "json" if {"--json", "--jsonl"} & set(argv) else "text"


def _known(name: str, known: Iterable[str], before: str) -> str:
    if name in (names := list(known)):
        return name
    from llm_pool.config.problem import nearest

    reason = "there is no such option" if name.startswith("-") else f"there is no command '{name}'"
    hint = nearest(name, names)
    raise InvalidRequest(name if name.startswith("-") else before, reason, hint=hint or f"{before} --help")


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
