"""
Writes the gRPC messages' classes anew: ``python tools/stubs.py``, with grpcio-tools installed.

Messages only: the server's handlers and the client's calls deal in bytes, because signatures cover the bytes.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = "llmpool/v1/llmpool.proto"
TARGET = ROOT / "llm_pool" / "wire"


def stubs() -> dict[str, str]:
    """The files' texts by name; raises RuntimeError if protoc refuses."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        words = ["protoc", f"-I{ROOT / 'proto'}", f"--python_out={folder}", f"--pyi_out={folder}", SOURCE]
        if protoc.main(words) != 0:
            raise RuntimeError("protoc refused; its words are above")
        files = {path.name: path.read_text() for path in Path(folder, SOURCE).parent.iterdir()}
    return {name: re.sub(r"\b_Mapping\]", "_Mapping[str, object]]", text) for name, text in files.items()}


if __name__ == "__main__":
    for name, text in stubs().items():
        (TARGET / name).write_text(text)
        sys.stdout.write(f"wrote {TARGET / name}\n")
