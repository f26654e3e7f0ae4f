"""Reading the configuration is cheap, as it happens at every start."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from llm_pool.config import builtin_config, load
load(builtin_config())
print(*sorted(sys.modules))
"""


def test_a_good_file_needs_no_more_than_msgspec_and_tomllib() -> None:
    """What explains mistakes, keys and schemas is imported by whoever asks for it."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)

    modules = set(done.stdout.split())
    outside = {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names)
    assert {name for name in outside if not name.startswith(("_", "sitecustomize"))} <= {
        "llm_pool",
        "msgspec",
        "typing_extensions",
    }
    assert not modules & {"difflib", "json", "asyncio", "llm_pool.config.type_errors"}
    assert not modules & {"llm_pool.config.keys", "llm_pool.config.positions", "llm_pool.config.schema"}
