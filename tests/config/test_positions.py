"""Where keys stand: checked against texts whose lines are known because the test writes them."""

from __future__ import annotations

import tomllib
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from hypothesis import example, given
from hypothesis import strategies as st

from llm_pool.config.positions import line_of, positions
from llm_pool.config.toml import toml_name, toml_value

if TYPE_CHECKING:
    from llm_pool.config.positions import KeyPath


def test_every_kind_of_key_is_found_on_its_line() -> None:
    """Tables, arrays of tables, dotted, quoted and inline keys, over strings that look like TOML."""
    text = dedent(
        """\
        # [not.a.table]
        title = "# not a comment"
        "quoted.key" = 'literal = \\'
        a.b . "c" = 1

        [server]
        addr = "x"  # [comment]
        text = \"\"\"
        [fake]
        key = 1 \\\\ \\"\"\" still ""\"\"\"
        raw = '''
        fake = 2'''''
        after = 1

        [[providers]]
        name = "one"
        tasks = [
          "x", # , "y"
          "z",
        ]
        [providers.request]
        body = { a = { b = [1, { c = 2 }] }, "d e" = "}" }
        [[providers]]
        name = "two"
        [[providers.extra]]
        k = 2024-01-01 10:00:00
        [tasks."my task"]
        ttl = 1
        """
    )
    expected: dict[KeyPath, int] = {
        ("title",): 2,
        ("quoted.key",): 3,
        ("a", "b", "c"): 4,
        ("server",): 6,
        ("server", "text"): 8,
        ("server", "raw"): 11,
        ("server", "after"): 13,
        ("providers", 0): 15,
        ("providers", 0, "tasks"): 17,
        ("providers", 0, "tasks", 1): 19,
        ("providers", 0, "request", "body", "a", "b", 1, "c"): 22,
        ("providers", 0, "request", "body", "d e"): 22,
        ("providers", 1, "name"): 24,
        ("providers", 1, "extra", 0, "k"): 26,
        ("tasks", "my task", "ttl"): 28,
    }

    found = positions(text)

    assert {path: found.get(path) for path in expected} == expected
    assert _paths(tomllib.loads(text)) <= found.keys()
    assert ("fake",) not in found


def test_a_missing_key_has_the_line_of_the_table_around_it() -> None:
    """What is not there is reported where it should be."""
    found = positions("a = 1\n[b]\nc = 2\n")

    assert line_of(("b", "missing"), found) == 2
    assert line_of(("nowhere",), found) is None


NAMES = st.text("abcXYZ09-_ .\"'#=[]\\é\n", min_size=0, max_size=5)
LEAVES = (
    st.text("ab \"'\\#[]{}=,\n\té", max_size=8)
    | st.integers(-99, 99)
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False, width=16)
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
TABLES = st.dictionaries(NAMES, VALUES, max_size=4)


@given(
    root=TABLES,
    tables=st.dictionaries(NAMES, TABLES, max_size=3),
    arrays=st.dictionaries(NAMES, st.lists(TABLES, min_size=1, max_size=3), max_size=2),
)
@example(root={"": {"": []}}, tables={}, arrays={})
def test_any_document_has_each_key_on_the_line_it_was_written_on(
    root: dict[str, Any], tables: dict[str, Any], arrays: dict[str, Any]
) -> None:
    """A document is written key by key; the scanner finds each where it was put, and finds nothing else."""
    lines: list[str] = []
    expected: dict[KeyPath, int] = {}

    def write(line: str, path: KeyPath) -> None:
        expected[path] = len(lines) + 1
        lines.append(line)

    for name, value in root.items():
        write(f"{toml_name(name)} = {toml_value(value)}  # é", (name,))
    for name, table in tables.items():
        if name in root or name in arrays:
            continue
        lines.append("")
        write(f"[ {toml_name(name)} ]", (name,))
        for key, value in table.items():
            write(f"\t{toml_name(key)}= {toml_value(value)}", (name, key))
    for name, items in arrays.items():
        if name in root:
            continue
        for index, table in enumerate(items):
            write(f"[[{toml_name(name)}]]", (name, index))
            for key, value in table.items():
                write(f"{toml_name(key)} ={toml_value(value)}", (name, index, key))
    text = "\n".join(lines) + "\n"

    found = positions(text)

    assert {path: found.get(path) for path in expected} == expected
    assert found.keys() == _paths(tomllib.loads(text))


def _paths(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return ({path} if path else set()).union(*(_paths(item, (*path, key)) for key, item in items))
