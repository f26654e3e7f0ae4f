"""
Every key of the configuration is read by some module: nothing in the file is decoration.

A key counts as read where a module that imports ``llm_pool.config`` speaks of the key's table and takes an
attribute of the key's name, or calls a method of the configuration that does.
"""

from __future__ import annotations

import ast
from pathlib import Path

from llm_pool.config.keys import tables

PACKAGE = Path(__file__).parents[2] / "llm_pool"

TABLE_WORDS = {
    "providers[]": {"ProviderSettings", "active_providers"},
    "providers[].request": {"HttpRequestSettings"},
    "providers[].response": {"HttpResponseSettings"},
    "groups.<name>": {"GroupSettings", "group"},
    "tasks.<name>": {"TaskSettings", "task", "tasks"},
    "security.jwt[]": {"JwtSettings"},
    "tenancy.<name>": {"TenantSettings", "tenancy"},
}
"""What a module says that takes keys of a table; for the others the table's own name."""

ELSEWHERE = {"server.listen_addr", "models.<name>"}
"""What the configuration itself reads: another name for ``http_addr``, and names that a person chooses for models."""


def test_every_key_is_read_by_some_module() -> None:
    """By the one that does what it says."""
    spoken = [_words_of(path) for path in sorted(PACKAGE.rglob("*.py")) if _reads_configuration(path)]

    unread = {
        key.path
        for table in tables()
        for key in table.keys
        if not any(key.name in words and words & _words_for(table.path) for words in spoken)
    }

    assert unread == ELSEWHERE


def _words_for(table: str) -> set[str]:
    return TABLE_WORDS.get(table, {table.rpartition(".")[2]})


def _reads_configuration(path: Path) -> bool:
    return path.parent.name != "config" and "from llm_pool.config" in path.read_text(encoding="utf-8")


def _words_of(path: Path) -> set[str]:
    """Names and attributes in *path*, and those in the configuration's methods of these names."""
    words, fresh = set[str](), _words_in(ast.parse(path.read_text(encoding="utf-8")))
    while fresh:
        words |= fresh
        fresh = set[str]().union(*(METHODS.get(word, set()) for word in fresh)) - words
    return words


def _words_in(tree: ast.AST) -> set[str]:
    """Attributes that are read, and class names."""
    nodes = list(ast.walk(tree))
    names = {node.id for node in nodes if isinstance(node, ast.Name) and node.id[0].isupper()}
    return names | {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


def _methods() -> dict[str, set[str]]:
    """The words in each method of the configuration's classes, by its name."""
    found: dict[str, set[str]] = {}
    for file in ("models.py", "effective.py"):
        for node in ast.walk(ast.parse((PACKAGE / "config" / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                found.setdefault(node.name, set()).update(_words_in(node))
    return found


METHODS = _methods()
