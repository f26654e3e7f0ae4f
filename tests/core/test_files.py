"""What a configuration names is read where it is a regular file of bounded size, and refused at once where not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llm_pool.config import load, parse
from llm_pool.core.errors import ConfigError
from llm_pool.core.files import MAX_BYTES, read_bounded
from llm_pool.security.keys import KeyFile
from llm_pool.security.tls import TlsFiles, context_for

pytestmark = pytest.mark.timeout(10)


def endless(folder: Path) -> list[Path]:
    """What a reader would wait for, or read for ever."""
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    return [pipe, Path("/dev/zero"), folder]


def test_a_file_is_read(tmp_path: Path) -> None:
    """Through a link too, as secrets are mounted."""
    (tmp_path / "real").write_bytes(b"a\xff")
    (tmp_path / "link").symlink_to("real")

    assert read_bounded(tmp_path / "link") == b"a\xff"


def test_what_has_no_end_is_refused(tmp_path: Path) -> None:
    for path in endless(tmp_path):
        with pytest.raises(OSError, match="file"):
            read_bounded(path)


def test_what_is_too_large_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b" " * (MAX_BYTES + 1))

    with pytest.raises(OSError, match="more than 4194304 bytes"):
        read_bounded(large)
    with pytest.raises(ConfigError, match="more than 4194304 bytes"):
        load(large)


def test_a_configuration_names_the_culprit(tmp_path: Path) -> None:
    """Its keys and its certificates as well."""
    for path in endless(tmp_path):
        with pytest.raises(ConfigError, match=r"security\.redis_url: .*file"):
            parse(f'[security]\nredis_url = "${{file:{path}}}"\n', tmp_path / "llm-pool.toml", {})
        with pytest.raises(ConfigError, match="a readable file"):
            KeyFile(path).load()
        with pytest.raises(ConfigError, match=r"server\.tls_cert"):
            context_for(TlsFiles(cert=path, key=path, client_ca=None))
