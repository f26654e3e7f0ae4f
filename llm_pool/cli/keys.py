"""``llm-pool keys``: create, rotate, retire, list. A secret is told once, on stdout, and is never an argument."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

from typer import Argument, Option

from llm_pool.cli.command import App, Context, Session
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.values import integer, one_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_pool.config import Config
    from llm_pool.core.messages import Json
    from llm_pool.security.keys import Key, KeyFile

T = TypeVar("T")
_DAY = 86_400.0


_KeyId: TypeAlias = Annotated[str, Argument(help="its id; list names them")]
_Days: TypeAlias = Annotated[
    int | None,
    Option("--days", metavar="N", help="how long the secret is good; for ever, if left out", parser=integer(1, 3650)),
]
_File: TypeAlias = Annotated[
    Path | None, Option("--keys-file", metavar="FILE", help="the file of keys, instead of security.keys_file")
]

app = App(
    "Keys for clients of the daemon. Each has two secrets at most, so that clients can change over in peace.",
    "llm-pool keys create acme",
    "llm-pool keys create acme --bearer    # for clients of OpenAI's API",
    "llm-pool keys rotate acme-1f2e3d4c",
    "llm-pool keys retire acme-1f2e3d4c a",
)


@app.command(epilog="llm-pool keys create acme\nllm-pool keys create acme --bearer --days 90 --json | jq -r .secret")
def create(
    ctx: Context,
    tenant: Annotated[str, Argument(help="whose key it is: NAME of a [tenancy.NAME]")],
    bearer: Annotated[
        bool, Option("--bearer", help="a key that is sent as it is, for clients that cannot sign")
    ] = False,
    days: _Days = None,
    keys_file: _File = None,
) -> int:
    """Make a key for TENANT and print its secret, once."""
    from llm_pool.security.keys import Kind

    config, file = _config_and_file(ctx.obj, keys_file)
    _check_tenant(tenant, config)
    now, kind = time.time(), Kind.BEARER if bearer else Kind.HMAC
    key, secret = _written(file, lambda: file.create(tenant, kind, wall=now, until=_until(days, now)))
    _print_result(ctx.obj, {"key": key.id, "slot": "a", "kind": kind.value, "secret": secret})
    how = "sends  Authorization: Bearer SECRET" if bearer else f"signs with the id {key.id} and this secret"
    ctx.obj.console.say(f"the secret is not shown again; a client {how}")
    return ExitCode.OK


@app.command(epilog="llm-pool keys rotate acme-1f2e3d4c")
def rotate(ctx: Context, key: _KeyId, days: _Days = None, keys_file: _File = None) -> int:
    """Give KEY a second secret and print it, once; the first one stays good."""
    _, file = _config_and_file(ctx.obj, keys_file)
    slot, secret = _written(file, lambda: file.rotate(key, until=_until(days, time.time())))
    _print_result(ctx.obj, {"key": key, "slot": slot, "secret": secret})
    old = "b" if slot == "a" else "a"
    ctx.obj.console.say(
        f"both secrets are good now; once every client has the new one:  llm-pool keys retire {key} {old}"
    )
    return ExitCode.OK


@app.command(epilog="llm-pool keys retire acme-1f2e3d4c a\nllm-pool keys retire acme-1f2e3d4c")
def retire(
    ctx: Context,
    key: _KeyId,
    slot: Annotated[
        str | None,
        Argument(help="a or b: take this secret only", parser=one_of("a", "b"), autocompletion=lambda: ["a", "b"]),
    ] = None,
    keys_file: _File = None,
) -> int:
    """Take away KEY, or one of its two secrets."""
    _, file = _config_and_file(ctx.obj, keys_file)
    _written(file, lambda: file.retire(key, slot))
    if ctx.obj.json:
        ctx.obj.console.json({"key": key, "slot": slot, "retired": True})
    else:
        which = f", secret {slot}" if slot else ""
        ctx.obj.console.say(f"retired {key}{which}; a running daemon knows within a second")
    return ExitCode.OK


@app.command("list", epilog="llm-pool keys list")
def list_keys(ctx: Context, keys_file: _File = None) -> int:
    """Say which keys there are, without secrets."""
    console = ctx.obj.console
    _, file = _config_and_file(ctx.obj, keys_file)
    keys = sorted(file.load().values(), key=lambda key: (key.tenant, key.created))
    if ctx.obj.json:
        console.json([_key_json(key) for key in keys])
    elif not keys:
        console.say(f"no keys in {file.path}; llm-pool keys create TENANT  makes one")
    else:
        from llm_pool.cli.drawing import grid, text

        table = grid("left", "left", "left", "left", "wrap")
        for key in keys:
            slots = "  ".join(f"{name}: {_span(slot.not_after)}" for name, slot in sorted(key.slots.items()))
            table.add_row(text(key.id), text(key.tenant), key.kind.value, _date(key.created), slots)
        console.show(table)
    return ExitCode.OK


def _config_and_file(session: Session, keys_file: Path | None) -> tuple[Config | None, KeyFile]:
    """The configuration, unless the file was named without one, and the file; raises ConfigError."""
    from llm_pool.config import find, load
    from llm_pool.core.errors import ConfigError
    from llm_pool.security.keys import KeyFile

    if keys_file is not None and session.config is None:
        return None, KeyFile(keys_file)
    config = load(find(session.config).path)
    name = keys_file or config.security.keys_file
    if name is None:
        raise ConfigError(
            path=config.path,
            key="security.keys_file",
            got="nothing",
            want="the file of keys",
            hint='[security] keys_file = "keys.json"  or --keys-file',
        )
    return config, KeyFile(keys_file or config.path.parent / name)


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


def _print_result(session: Session, fields: dict[str, str]) -> None:
    if session.json:
        session.console.json(fields)
    else:
        for name, value in fields.items():
            session.console.out(f"{name:<7} {value}")


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
