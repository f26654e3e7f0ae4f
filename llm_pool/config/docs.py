"""
``docs/configuration.md`` and ``docs/llm-pool.schema.json``, made from the structs.

``python -m llm_pool.config.docs`` writes both; a test compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.config import schema
from llm_pool.config.keys import Key, Table, tables

if TYPE_CHECKING:
    from pathlib import Path

_PREFACE = """\
<!-- Made by `python -m llm_pool.config.docs` from llm_pool/config/models.py. Edit that file. -->

# Configuration

One TOML file says everything. The first of these that exists is used, alone:

1. `--config FILE`
2. the file that `LLM_POOL_CONFIG` names
3. `llm-pool.toml` in the working directory or above it, up to the repository root
4. `llm-pool.toml` in the user's configuration folder (`~/.config/llm-pool` on Linux)
5. the built-in default, which is the [llm-pool.toml](../llm-pool.toml) of this repository; where one of its models is
   not installed, those found on this machine serve ([`[discovery]`](#discovery))

| command | what it does |
|---|---|
| `llm-pool config path` | says which file is used |
| `llm-pool config check [FILE]` | names every mistake with its line, and the nearest known name |
| `llm-pool config show [--origin] [--json]` | prints the effective configuration; `--origin` adds file and line |
| `llm-pool config explain KEY` | says what a key or a table means |
| `llm-pool config init [FILE]` | writes a file to start from; `--full` with every key, `--interactive` as you choose |
| `llm-pool config schema` | writes the JSON Schema |

Any string may hold `${env:NAME}`, an environment variable, or `${file:PATH}`, a file's text without its last line
break; paths count from the folder of the configuration file. Both are read when the file is, and a missing one is a
mistake like any other. Keys are never printed.

Strategies and other words are read in any letter case.

For completion in an editor, `llm-pool config schema > llm-pool.schema.json` and begin the file with

```toml
#:schema ./llm-pool.schema.json
```
"""


def markdown() -> str:
    """The page."""
    return _PREFACE + "".join(_section(table) for table in tables())


def _section(table: Table) -> str:
    description = "\n\n".join(table.description)
    rows = "\n".join(_row(key) for key in table.keys)
    return (
        f"\n## `{table.header}`\n\n{description}\n\n| key | accepts | default | meaning |\n|---|---|---|---|\n{rows}\n"
    )


def _row(key: Key) -> str:
    default = key.default_text
    cells = (
        f"`{key.name}`",
        key.accepts,
        default if default in {"required", "unset"} else f"`{default}`",
        key.doc + (f" E.g. `{key.example}`." if key.example else ""),
    )
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def write(folder: Path) -> None:
    """Write both files into *folder*."""
    (folder / "configuration.md").write_text(markdown(), encoding="utf-8")
    (folder / "llm-pool.schema.json").write_text(schema.as_text(), encoding="utf-8")


if __name__ == "__main__":
    from pathlib import Path

    write(Path(__file__).parents[2] / "docs")
