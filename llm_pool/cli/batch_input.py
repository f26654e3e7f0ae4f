"""What ``infer --input`` reads: JSON lines or CSV, as they come, so that memory does not grow with their number."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from llm_pool.cli.prompt_input import UndecodableInput, lines_of, opened
from llm_pool.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_COLUMN = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
_MOST_CHARACTERS = 16_000_000
"""Characters of one CSV field at most."""


class BatchLine(msgspec.Struct, forbid_unknown_fields=True):
    """One line of input; what it leaves out comes from the command's options."""

    prompt: str | dict[str, object] | list[object]
    task: str | None = None
    strategy: str | None = None
    request_id: str | None = None
    max_tokens: int | None = None
    deadline_ms: float | None = None
    think: bool | str | None = None


Numbered: TypeAlias = "tuple[int, BatchLine | InvalidRequest | UndecodableInput]"
"""A line's number, from 1, and what it asks, or why it asks nothing."""


class Shard(msgspec.Struct, frozen=True):
    """Every *count*-th line, beginning with line *index*: 1 to *count*."""

    index: int = 1
    count: int = 1

    def has(self, number: int) -> bool:
        """Whether line *number* is one of it."""
        return (number - self.index) % self.count == 0


def batch_lines(source: str, template: str | None) -> Iterator[Numbered]:
    """
    The lines of *source*, each read when it is asked for.

    Args:
        source: a file, ``-`` for stdin; a name that ends in ``.csv`` is CSV with a header.
        template: of CSV, the prompt, with ``{{column}}`` where a column's text goes; None: there is a column *prompt*.

    Raises:
        MissingInput: the file cannot be opened.
        UndecodableInput: it is not UTF-8, or no CSV.
        InvalidRequest: *template* names a column that is not there, or there is no CSV to fill it from.
    """
    if source.lower().endswith(".csv"):
        yield from _records(source, template)
        return
    if template is not None:
        raise InvalidRequest("--template", "it is filled from the columns of a CSV file", hint="--input FILE.csv")
    for number, text in lines_of(source):
        yield number, _json_line(number, text)


def count_lines(source: str) -> int | None:
    """How many lines a file has, for progress; None where nobody can know before. Raises MissingInput."""
    if source == "-" or (Path(source).exists() and not Path(source).is_file()):
        return None
    with opened(source) as stream:
        return None if source.lower().endswith(".csv") else sum(not line.isspace() for line in stream)


def _json_line(number: int, text: str) -> BatchLine | InvalidRequest | UndecodableInput:
    try:
        line = msgspec.json.decode(text, type=BatchLine | str)
    except msgspec.ValidationError as error:
        return InvalidRequest(f"line {number}", str(error))
    except msgspec.DecodeError as error:
        return UndecodableInput(f"line {number}: not JSON: {error}", hint='a line is "text" or {"prompt": …}')
    return BatchLine(line) if isinstance(line, str) else line


def _records(source: str, template: str | None) -> Iterator[Numbered]:
    csv.field_size_limit(_MOST_CHARACTERS)
    with io.TextIOWrapper(opened(source), encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, strict=True)
        number = 0
        try:
            _check_columns(reader.fieldnames or (), template)
            for number, record in enumerate(reader, start=1):
                yield number, _record(number, record, template)
        except UnicodeDecodeError as error:
            raise UndecodableInput(
                f"record {number + 1}: invalid UTF-8 (0x{error.object[error.start]:02x})",
                hint="convert it first, e.g. with  iconv -t UTF-8",
            ) from None
        except csv.Error as error:
            raise UndecodableInput(f"record {number + 1}: not CSV: {error}") from None


def _check_columns(columns: object, template: str | None) -> None:
    known = list(columns) if isinstance(columns, list | tuple) else []
    for wanted in ["prompt"] if template is None else _COLUMN.findall(template):
        if wanted not in known:
            what = f"there is no column '{wanted}', but {', '.join(known) or 'none'}"
            way_out = "--template 'Translate: {{text}}'" if template is None else ""
            raise InvalidRequest("--template" if template is not None else "--input", what, hint=way_out)


def _record(
    number: int, record: Mapping[str | None, str | list[str] | None], template: str | None
) -> BatchLine | InvalidRequest:
    """What a record asks: its prompt, and what its columns of the same names as a line's fields say."""
    if None in record or None in record.values():
        return InvalidRequest(f"line {number}", "it has other columns than the header")
    texts = {str(name): str(text) for name, text in record.items()}
    prompt = texts.get("prompt", "") if template is None else _COLUMN.sub(lambda found: texts[found[1]], template)
    said = {name: texts[name] for name in BatchLine.__struct_fields__[1:] if texts.get(name)}
    try:
        return msgspec.convert({"prompt": prompt, **said}, BatchLine, strict=False)
    except msgspec.ValidationError as error:
        return InvalidRequest(f"line {number}", str(error))
