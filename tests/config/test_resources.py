"""What comes with the package is found."""

from __future__ import annotations

from llm_pool.config import builtin_config, prompts_folder


def test_the_built_in_file_and_the_prompts_are_there() -> None:
    """In this checkout; the wheel's place is checked where a wheel is built."""
    assert builtin_config().is_file()
    assert prompts_folder().is_dir()
