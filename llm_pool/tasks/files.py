"""Prompt files: where they are, and what a task is made of."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from llm_pool.config.problem import nearest
from llm_pool.core.errors import ConfigError, InvalidRequest
from llm_pool.core.files import read_bounded
from llm_pool.core.messages import Task
from llm_pool.tasks.frontmatter import FENCE, FrontMatter, split
from llm_pool.tasks.rendering import INPUT, USER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from llm_pool.core.messages import OutputKind

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_NO_FILES: dict[str, Path] = {}

ASK = Task(
    name="ask", template=INPUT, description="A plain question, answered in plain text.", temperature=0.7, version="1"
)
"""The task of a question that names none. It needs no file, and a file of its name takes its place."""

JUDGING = Task(name="judging", template="", description="Which of these answers is best, in one letter.")
"""The task of the question that JUDGE puts to a judge: worded in code, except for variants."""


def load_task(name: str, folders: Sequence[Path], files: Mapping[str, Path] = _NO_FILES) -> Task:
    """
    The task *name*, reading no other.

    Args:
        name: as in the configuration and in the file's name.
        folders: where ``<name>.md`` and its variants ``<variant>/<name>.md`` may be; a later folder goes before.
        files: prompt files by task that the configuration names; they go before all folders.

    Raises:
        InvalidRequest: there is no such task.
        ConfigError: its file is wrong; an output schema that is none shows when the task is first prepared.
    """
    paths = [files[name]] if name in files else [folder / f"{name}.md" for folder in reversed(folders)]
    path = next((path for path in paths if _NAME.fullmatch(name) and path.is_file()), None)
    if path is not None:
        return _task(name, path, _variants(name, folders))
    if name in files:
        raise ConfigError(path=None, key=f"tasks.{name}.prompt", got=str(paths[0]), want="a prompt file")
    if name == ASK.name:
        return ASK
    known = task_names(folders, files)
    hint = nearest(name, known) or f"tasks are {', '.join(known)}"
    raise InvalidRequest("task", f"unknown task '{name}'", hint=hint)


def load_tasks(folders: Sequence[Path], files: Mapping[str, Path] = _NO_FILES) -> dict[str, Task]:
    """Every task by name; arguments and errors as for ``load_task``."""
    return {name: load_task(name, folders, files) for name in task_names(folders, files)}


def judging_task(folders: Sequence[Path]) -> Task:
    """
    JUDGING with the variants ``<variant>/judging.md`` of *folders*.

    A variant is filled with ``{"question": ..., "candidates": [{"id": letter, "text": answer}, ...]}``; raises
    ConfigError where one is wrong.
    """
    return msgspec.structs.replace(JUDGING, variants=_variants(JUDGING.name, folders))


def task_names(folders: Sequence[Path], files: Mapping[str, Path] = _NO_FILES) -> list[str]:
    """The names of all tasks, in alphabetical order, without opening a file."""
    found = {path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.md")}
    return sorted({ASK.name, *files, *filter(_NAME.fullmatch, found)})


def _task(name: str, path: Path, variants: dict[str, str]) -> Task:
    text = _text(path)
    front, body = split(path, text)
    _check_template(path, body)
    kind = front.kind or ("object" if front.output_schema else "text")
    _check_whole(path, front, kind)
    return Task(
        name=name,
        template=body,
        variants=variants,
        description=front.description,
        input_schema=front.input_schema,
        output_schema=front.output_schema,
        kind=kind,
        field=front.field,
        ids_from=front.ids_from,
        temperature=front.temperature,
        max_tokens=front.max_tokens,
        deadline=None if front.deadline_ms is None else front.deadline_ms / 1000,
        version=_version(name, text, *(part for variant in sorted(variants.items()) for part in variant)),
        source=str(path),
    )


def _variants(name: str, folders: Sequence[Path]) -> dict[str, str]:
    """Other wordings by variant: bodies only, for the shape of the answer is the task's."""
    paths = {path.parent.name: path for folder in folders for path in sorted(folder.glob(f"*/{name}.md"))}
    variants = {}
    for variant, path in paths.items():
        body = _text(path).strip()
        if body.startswith(FENCE):
            raise ConfigError(
                path=path, line=1, key="", got=FENCE, want="the body alone, a variant has no front matter"
            )
        _check_template(path, body)
        variants[variant] = body
    return variants


def _text(path: Path) -> str:
    try:
        return read_bounded(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            path=path, key="", got=f"byte {error.start}, which is not UTF-8", want="UTF-8 text"
        ) from error
    except OSError as error:
        raise ConfigError(path=path, key="", got=str(error.strerror), want="a readable prompt file") from error


def _check_template(path: Path, body: str) -> None:
    user = body.rpartition(USER)[2]
    if user.count(INPUT) != 1 or body.count(INPUT) != 1:
        raise ConfigError(
            path=path,
            key="",
            got=f"{body.count(INPUT)} of them",
            want=f"{INPUT} once in the body, after the {USER.strip()} line if there is one",
        )


def _check_whole(path: Path, front: FrontMatter, kind: OutputKind) -> None:
    """Keys that only make sense together."""
    if kind == "text" and front.output_schema is not None:
        raise ConfigError(path=path, key="kind", got="text", want="value, object or ranking: there is an output_schema")
    if kind != "text" and front.output_schema is None:
        raise ConfigError(path=path, key="output_schema", got="nothing", want=f"a JSON Schema, for kind = '{kind}'")
    if kind in {"value", "ranking"}:
        fields = (front.output_schema or {}).get("properties", {})
        if front.field not in fields:
            want = f"the deciding one of {', '.join(fields) or 'the properties'}"
            raise ConfigError(
                path=path, key="field", got=repr(front.field), want=want, hint=nearest(front.field, fields)
            )
    if kind == "ranking" and not front.ids_from:
        raise ConfigError(path=path, key="ids_from", got="nothing", want="where the ids are, e.g. candidates[].id")
    if front.ids_from and front.ids_from.count("[]") != 1:
        raise ConfigError(path=path, key="ids_from", got=repr(front.ids_from), want="a path such as candidates[].id")
    if front.ids_from and front.input_schema is None:
        raise ConfigError(
            path=path, key="input_schema", got="nothing", want="a JSON Schema, for ids_from points into it"
        )


def _version(*parts: str) -> str:
    digest = sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()[:12]
