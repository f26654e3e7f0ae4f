"""
The Rust SDK. Compiling it takes minutes, so `poe sdk-rust` does that by hand; sdk/rust/RESULTS.md has how it went.

What is looked at without cargo is looked at always.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CRATE = ROOT / "sdk" / "rust"
CARGO = shutil.which("cargo")

by_hand = pytest.mark.skipif(
    "LLM_POOL_RUST" not in os.environ, reason="`poe sdk-rust` compiles it, which takes minutes"
)
needs_cargo = pytest.mark.skipif(CARGO is None, reason="cargo is not here")


def cargo(*words: str, **environ: str) -> None:
    assert CARGO is not None
    environment = {**os.environ, "LLM_POOL_PYTHON": sys.executable, **environ}
    done = subprocess.run([CARGO, *words], cwd=CRATE, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


def toml(name: str) -> dict[str, Any]:
    return tomllib.loads((CRATE / name).read_text(encoding="utf-8"))


def test_the_pages_show_the_example_that_its_tests_run() -> None:
    """docs/sdk.md and the README have it word for word."""
    code = (CRATE / "examples" / "five_calls.rs").read_text(encoding="utf-8").partition("\n\n")[2]

    for page in ("docs/sdk.md", "README.md"):
        assert f"```rust\n{code}```" in (ROOT / page).read_text(encoding="utf-8")


def test_its_versions_are_those_that_are_told() -> None:
    """The crate's is ours; the oldest Rust is in both pages."""
    package = toml("Cargo.toml")["package"]
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

    assert package["version"] == ours
    for page in (ROOT / "docs" / "sdk.md", CRATE / "README.md"):
        assert f"Rust {package['rust-version']}" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["Cargo.lock", "codegen/Cargo.lock"])
def test_what_it_needs_is_locked_by_the_public_index(name: str) -> None:
    """With a checksum each."""
    packages = [package for package in toml(name)["package"] if "source" in package]

    assert packages
    assert {package["source"] for package in packages} == {"registry+https://github.com/rust-lang/crates.io-index"}
    assert all(re.fullmatch("[0-9a-f]{64}", package["checksum"]) for package in packages)


@by_hand
@needs_cargo
def test_style_and_documentation() -> None:
    """rustfmt, clippy pedantic with and without features, rustdoc: no warning."""
    cargo("fmt", "--check")
    cargo("clippy", "--locked", "--all-targets", "--", "-D", "warnings")
    cargo("clippy", "--locked", "--all-features", "--all-targets", "--", "-D", "warnings")
    cargo("doc", "--locked", "--no-deps", "--all-features", RUSTDOCFLAGS="-D warnings")


@by_hand
@needs_cargo
@pytest.mark.parametrize("features", ["--no-default-features", "--all-features"])
def test_its_tests_pass(features: str) -> None:
    """The vectors, the examples of its documentation, and live daemons over each protocol."""
    cargo("test", "--locked", features)


@by_hand
@needs_cargo
def test_the_messages_of_grpc_are_the_protos_own() -> None:
    """``python tools/rust_stubs.py`` writes them anew."""
    stubs = runpy.run_path(str(ROOT / "tools" / "rust_stubs.py"))

    assert stubs["TARGET"].read_text(encoding="utf-8") == stubs["text"]()
