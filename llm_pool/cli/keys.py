"""``llm-pool keys``: create, rotate, retire, list. A secret is told once, on stdout, and is never an argument."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.options import add_config, add_output_options
from llm_pool.cli.parsing import Command, Group, integer, one_of

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from llm_pool.cli.console import Console
    from llm_pool.cli.parsing import Parser
    from llm_pool.config import Config
    from llm_pool.core.messages import Json
    from llm_pool.security.keys import Key, KeyFile

T = TypeVar("T")
_DAY = 86_400.0


def _create_arguments(parser: Parser) -> None:
    parser.argument("tenant", "whose key it is: NAME of a [tenancy.NAME]")
    parser.flag("--bearer", text="a key that is sent as it is, for clients that cannot sign")
    _add_days(parser)
    _add_shared(parser)


def _rotate_arguments(parser: Parser) -> None:
    parser.argument("key", "its id; list names them")
    _add_days(parser)
    _add_shared(parser)


def _retire_arguments(parser: Parser) -> None:
    parser.argument("key", "its id; list names them")
    parser.argument(
        "slot", "a or b: take this secret only", read=one_of("a", "b"), optional=True, complete=lambda: ("a", "b")
    )
    _add_shared(parser)


def _add_days(parser: Parser) -> None:
    parser.option(
        "--days", metavar="N", text="how long the secret is good; for ever, if left out", read=integer(1, 3650)
    )


def _add_shared(parser: Parser) -> None:
    parser.option("--keys-file", metavar="FILE", text="the file of keys, instead of security.keys_file", read=Path)
    add_config(parser)
    add_output_options(parser)


def _create(args: Namespace, console: Console) -> int:
    from llm_pool.security.keys import Kind

    config, file = _config_and_file(args)
    _check_tenant(args.tenant, config)
    now, kind = time.time(), Kind.BEARER if args.bearer else Kind.HMAC
    key, secret = _written(file, lambda: file.create(args.tenant, kind, wall=now, until=_until(args.days, now)))
    _print_result(console, args, {"key": key.id, "slot": "a", "kind": kind.value, "secret": secret})
    how = "sends  Authorization: Bearer SECRET" if args.bearer else f"signs with the id {key.id} and this secret"
    console.say(f"the secret is not shown again; a client {how}")
    return ExitCode.OK


def _rotate(args: Namespace, console: Console) -> int:
    _, file = _config_and_file(args)
    slot, secret = _written(file, lambda: file.rotate(args.key, until=_until(args.days, time.time())))
    _print_result(console, args, {"key": args.key, "slot": slot, "secret": secret})
    old = "b" if slot == "a" else "a"
    console.say(f"both secrets are good now; once every client has the new one:  llm-pool keys retire {args.key} {old}")
    return ExitCode.OK


def _retire(args: Namespace, console: Console) -> int:
    _, file = _config_and_file(args)
    _written(file, lambda: file.retire(args.key, args.slot))
    if args.json:
        console.json({"key": args.key, "slot": args.slot, "retired": True})
    else:
        console.say(
            f"retired {args.key}{f', secret {args.slot}' if args.slot else ''}; a running daemon knows within a second"
        )
    return ExitCode.OK


def _list(args: Namespace, console: Console) -> int:
    _, file = _config_and_file(args)
    keys = sorted(file.load().values(), key=lambda key: (key.tenant, key.created))
    if args.json:
        console.json([_key_json(key) for key in keys])
    elif not keys:
        console.say(f"no keys in {file.path}; llm-pool keys create TENANT  makes one")
    for key in [] if args.json else keys:
        slots = "  ".join(f"{name}: {_span(slot.not_after)}" for name, slot in sorted(key.slots.items()))
        console.out(f"{key.id:<24} {key.tenant:<16} {key.kind.value:<7} {_date(key.created)}  {slots}")
    return ExitCode.OK


def _config_and_file(args: Namespace) -> tuple[Config | None, KeyFile]:
    """The configuration, unless the file was named without one, and the file; raises ConfigError."""
    from llm_pool.config import find, load
    from llm_pool.core.errors import ConfigError
    from llm_pool.security.keys import KeyFile

    if args.keys_file is not None and args.config is None:
        return None, KeyFile(args.keys_file)
    config = load(find(args.config).path)
    name = args.keys_file or config.security.keys_file
    if name is None:
        raise ConfigError(
            path=config.path,
            key="security.keys_file",
            got="nothing",
            want="the file of keys",
            hint='[security] keys_file = "keys.json"  or --keys-file',
        )
    return config, KeyFile(args.keys_file or config.path.parent / name)


def _check_tenant(tenant: str, config: Config | None) -> None:
    """Raise InvalidRequest for a tenant that the daemon would not know."""
    from llm_pool.config.models import ANY_TENANT
    from llm_pool.config.problem import nearest
    from llm_pool.core.errors import InvalidRequest

    if not tenant.strip() or tenant == ANY_TENANT:
        raise InvalidRequest("TENANT", "it is no name")
    if config is not None and not {tenant, ANY_TENANT} & config.tenancy.keys():
        near = nearest(tenant, config.tenancy)
        hint = near or f"write a table for it into {config.path}, even an empty one"
        raise InvalidRequest("TENANT", f"there is no [tenancy.{tenant}]", hint=hint)


def _written(file: KeyFile, change: Callable[[], T]) -> T:
    """What *change* gives; raises InvalidRequest where the file cannot be written."""
    from llm_pool.core.errors import InvalidRequest

    try:
        return change()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InvalidRequest("--keys-file", f"{file.path} cannot be written: {reason}") from None


def _until(days: int | None, now: float) -> float | None:
    return None if days is None else now + days * _DAY


def _print_result(console: Console, args: Namespace, fields: dict[str, str]) -> None:
    if args.json:
        console.json(fields)
    else:
        for name, value in fields.items():
            console.out(f"{name:<7} {value}")


def _key_json(key: Key) -> dict[str, Json]:
    return {
        "key": key.id,
        "tenant": key.tenant,
        "kind": key.kind.value,
        "created": key.created,
        "slots": {n: {"not_before": s.not_before, "not_after": s.not_after} for n, s in sorted(key.slots.items())},
    }


def _span(until: float | None) -> str:
    return "good" if until is None else f"good until {_date(until)}" if until > time.time() else "over"


def _date(wall: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(wall))


COMMAND = Group(
    "keys",
    "Keys for clients of the daemon. Each has two secrets at most, so that clients can change over in peace.",
    (
        "llm-pool keys create acme",
        "llm-pool keys create acme --bearer    # for clients of OpenAI's API",
        "llm-pool keys rotate acme-1f2e3d4c",
        "llm-pool keys retire acme-1f2e3d4c a",
    ),
    (
        Command(
            "create",
            "Make a key for TENANT and print its secret, once.",
            ("llm-pool keys create acme", "llm-pool keys create acme --bearer --days 90 --json | jq -r .secret"),
            _create_arguments,
            _create,
        ),
        Command(
            "rotate",
            "Give KEY a second secret and print it, once; the first one stays good.",
            ("llm-pool keys rotate acme-1f2e3d4c",),
            _rotate_arguments,
            _rotate,
        ),
        Command(
            "retire",
            "Take away KEY, or one of its two secrets.",
            ("llm-pool keys retire acme-1f2e3d4c a", "llm-pool keys retire acme-1f2e3d4c"),
            _retire_arguments,
            _retire,
        ),
        Command("list", "Say which keys there are, without secrets.", ("llm-pool keys list",), _add_shared, _list),
    ),
)
