"""
The folder where the models of the embedded engine live, and how they get there.

A model is named by its file without ``.gguf``, by a path, or by where it comes from::

    pocket-a                               models/pocket-a.gguf of the user's data folder, or shipped with llm-pool
    ./mine/model.gguf                      a file anywhere
    hf:owner/repo/file.gguf                a file on Hugging Face; hf:owner/repo@revision/file.gguf for a revision
    https://example.org/file.gguf          a file on any server
    https://example.org/file.gguf#sha256=… the same, and it must have this checksum

The last three name ``file`` of the folder once it is pulled, so a configuration can hold the source itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit

import msgspec

from llm_pool.core.errors import Failed, Rejected
from llm_pool.core.messages import ModelInfo, PullProgress
from llm_pool.providers.download import Download
from llm_pool.providers.gguf_header import NotGguf, read_header

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

BUNDLED: Final = Path(__file__).parent.parent / "models"
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*\.gguf")
_SHA256: Final = re.compile(r"sha256=([0-9a-fA-F]{64})")
_HUB: Final = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?/(?P<path>[\w./+ -]+\.gguf)")


class Source(msgspec.Struct, frozen=True):
    """Where a model comes from: *file* its name in our folder, *sha256* the checksum it must have, if it must."""

    url: str
    file: str
    sha256: str = ""


def model_folder() -> Path:
    """``LLM_POOL_MODELS``, or ``llm-pool/models`` in the user's data folder. It need not exist."""
    if folder := os.environ.get("LLM_POOL_MODELS"):
        return Path(folder)
    import platformdirs

    return platformdirs.user_data_path("llm-pool", appauthor=False) / "models"


def find_model(model: str, folder: Path, base: Path | None = None) -> Path | None:
    """
    The file that *model* names, if it is there.

    Args:
        model: as the module tells.
        folder: of the user's models.
        base: what a relative path starts from; None means the working directory.
    """
    source = source_of(model)
    if source is None and (model.endswith(".gguf") or "/" in model or os.sep in model):
        candidates = [(base or Path()) / Path(model).expanduser()]
    else:
        file = source.file if source else f"{model}.gguf"
        candidates = [folder / file, BUNDLED / file]
    return next((place for place in candidates if place.is_file()), None)


def source_of(model: str) -> Source | None:
    """
    Where *model* is to be fetched from.

    Returns:
        None if it is not the name of a source, names no plain ``.gguf`` file, or has a checksum that is none.
    """
    place, marked, fragment = model.partition("#")
    checksum = _SHA256.fullmatch(fragment)
    if match := _HUB.fullmatch(place):
        endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        place = f"{endpoint}/{match['repo']}/resolve/{match['revision'] or 'main'}/{quote(match['path'])}"
    elif not place.startswith(("http://", "https://")):
        return None
    file = unquote(urlsplit(place).path).rpartition("/")[2].replace(" ", "-")
    if not _FILE.fullmatch(file) or (marked and checksum is None):
        return None
    return Source(place, file, checksum[1].lower() if checksum else "")


class GgufStore:
    """
    The models in *folder*, and the ones shipped with llm-pool, as a ``ModelStore``.

    Args:
        folder: None takes ``model_folder()``.
        name: how errors call us.
    """

    def __init__(self, folder: Path | None = None, *, name: str = "llamacpp") -> None:
        self._folder = model_folder() if folder is None else folder
        self._name = name

    async def models(self) -> Sequence[ModelInfo]:
        """Models that are here now, by name; a file of the user's own hides a shipped one."""
        return await asyncio.to_thread(lambda: list(self._list()))

    async def show(self, model: str) -> ModelInfo:
        """One model with what its header says; raises ProviderError if it is not here or is no GGUF file."""
        return await asyncio.to_thread(self._show, model)

    async def remove(self, model: str) -> None:
        """Delete *model*; raises ProviderError if it is not here, or not ours to delete."""
        await asyncio.to_thread(self._remove, model)

    async def pull(self, model: str) -> AsyncGenerator[PullProgress]:
        """
        Fetch *model* from its source, go on where an earlier pull stopped, and verify it.

        It appears under its name only when it is whole: size, checksum where one is known, and GGUF header.

        Raises:
            ProviderError: the source cannot be read, sent something else, or the disk refused; the hint says what
                to do. What is there already is kept for the next try, unless it is wrong.
        """
        source = source_of(model)
        if source is None:
            raise Rejected(
                self._name,
                f"'{model}' is not where a model can be fetched from",
                hint="llm-pool models pull hf:OWNER/REPO/FILE.gguf  or  https://HOST/FILE.gguf[#sha256=…]",
            )
        target = self._folder / source.file
        with self._disk_errors():
            if await asyncio.to_thread(self._is_here, source, target):
                yield PullProgress("already here")
                return
            download = Download(self._name, source.url, target.with_name(f"{target.name}.part"))
            async for progress in download.run():
                yield progress
            yield PullProgress("verifying")
            await asyncio.to_thread(self._accept, source, download, target)
        yield PullProgress("success")

    def _list(self) -> Iterator[ModelInfo]:
        seen: set[str] = set()
        for folder in (self._folder, BUNDLED):
            for path in sorted(folder.glob("*.gguf")):
                if path.stem not in seen:
                    seen.add(path.stem)
                    yield _info(path)

    def _show(self, model: str) -> ModelInfo:
        path = self._find(model)
        try:
            header = read_header(path)
        except NotGguf as error:
            raise Failed(self._name, f"{path} is no usable model: it {error}", hint=_pull_hint(model)) from error
        return msgspec.structs.replace(_info(path), detail=msgspec.to_builtins(header))

    def _remove(self, model: str) -> None:
        path = self._find(model)
        if path.parent != self._folder:
            raise Rejected(self._name, f"'{model}' is {path}, which is not in the model folder {self._folder}")
        with self._disk_errors():
            path.unlink()
            _origin(path).unlink(missing_ok=True)

    def _find(self, model: str) -> Path:
        if (path := find_model(model, self._folder)) is None:
            raise Rejected(self._name, f"no model '{model}' in {self._folder}", hint=_pull_hint(model))
        return path

    def _is_here(self, source: Source, target: Path) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True)
        if not target.is_file():
            return False
        known = _read_origin(target)
        if known.url != source.url or source.sha256 not in {"", known.sha256}:
            raise Rejected(
                self._name,
                f"{target} is there already, from {known.url or 'an unknown source'}",
                hint=f"llm-pool models rm {target.stem}  then pull again",
            )
        return True

    def _accept(self, source: Source, download: Download, target: Path) -> None:
        try:
            read_header(download.part)
            found = _checksum(download.part, source.sha256 or download.sha256)
        except NotGguf as error:
            download.discard()
            reason = f"what {source.url} sent is no usable model: it {error}"
            raise Failed(self._name, reason, hint="nothing was kept; try another source") from error
        _origin(target).write_bytes(msgspec.json.encode(_Origin(source.url, found)))
        download.part.replace(target)
        download.discard()

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = "LLM_POOL_MODELS names another folder"
            if error.errno == errno.ENOSPC:
                hint = f"make room, then pull again to go on; or {hint}"
            raise Failed(self._name, f"{self._folder}: {error.strerror or error}", hint=hint) from error


class _Origin(msgspec.Struct, frozen=True):
    """Kept beside a model, as ``file.gguf.json``."""

    url: str = ""
    sha256: str = ""


def _checksum(path: Path, expected: str) -> str:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if expected and found != expected:
        raise NotGguf(f"has the checksum {found}, expected {expected}")
    return found


def _origin(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _read_origin(path: Path) -> _Origin:
    try:
        return msgspec.json.decode(_origin(path).read_bytes(), type=_Origin)
    except (OSError, msgspec.DecodeError):
        return _Origin()  # somebody put the file there by hand


def _info(path: Path) -> ModelInfo:
    digest = _read_origin(path).sha256
    return ModelInfo(name=path.stem, size=path.stat().st_size, place=str(path), digest=digest)


def _pull_hint(model: str) -> str:
    return f"llm-pool models pull {model if source_of(model) else 'hf:OWNER/REPO/FILE.gguf'}"
