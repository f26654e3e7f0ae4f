"""
Writes the Rust SDK's gRPC messages anew: ``python tools/rust_stubs.py``, with grpcio-tools and cargo installed.

Messages only, as in Python: a signature covers the bytes that are sent.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = "llmpool/v1/llmpool.proto"
TARGET = ROOT / "sdk" / "rust" / "src" / "grpc" / "llmpool.v1.rs"


def text() -> str:
    """The file's text; raises RuntimeError or CalledProcessError if protoc or cargo refuses."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        described = Path(folder, "llmpool.binpb")
        words = ["protoc", f"-I{ROOT / 'proto'}", f"--descriptor_set_out={described}", "--include_source_info", SOURCE]
        if protoc.main(words) != 0:
            raise RuntimeError("protoc refused; its words are above")
        manifest = ROOT / "sdk" / "rust" / "codegen" / "Cargo.toml"
        cargo = ["cargo", "run", "--quiet", "--locked", "--manifest-path", str(manifest), "--", str(described), folder]
        subprocess.run(cargo, check=True)  # noqa: S603  # our own crate
        return Path(folder, TARGET.name).read_text(encoding="utf-8")


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    print(f"wrote {TARGET.name}")
