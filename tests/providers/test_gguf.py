"""The folder of models: names, pulls that go on where they stopped, and what is never kept."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import struct
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.errors import Failed, ProviderError, Rejected, Unreachable
from llm_pool.providers.gguf import BUNDLED, GgufStore, find_model, model_folder, source_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

Serving = Callable[[Any], Any]


def model_bytes(padding: int = 3_000_000) -> bytes:
    """A file that is GGUF enough, larger than one step of progress."""
    key = b"general.architecture"
    pair = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, 5) + b"llama"
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + pair + os.urandom(padding)


BODY = model_bytes()
SHA = hashlib.sha256(BODY).hexdigest()


class ModelHost:
    """A server with one file, that can cut, change, forget ranges or redirect."""

    def __init__(self, body: bytes = BODY) -> None:
        self.body = body
        self.tag = '"v1"'
        self.cut_at: int | None = None
        self.ranges = True
        self.redirect = ""
        self.linked = ""

    async def __call__(self, visit: Any) -> None:
        if self.redirect and not visit.line.startswith("GET /cdn/"):
            linked = [f'X-Linked-Etag: "{self.linked}"'] if self.linked else []
            visit.whole(b"", "302 Found", f"Location: {self.redirect}", *linked)
            return
        start, status, headers = 0, "200 OK", [f"ETag: {self.tag}"]
        asked = visit.headers.get("range")
        if asked and self.ranges and visit.headers.get("if-range") == self.tag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            status = "206 Partial Content"
            headers.append(f"Content-Range: bytes {start}-{len(self.body) - 1}/{len(self.body)}")
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(self.body) - start}", *headers, "", ""]
        visit.write("\r\n".join(lines).encode())
        visit.write(self.body[start : self.cut_at])
        await visit.drained()
        if self.cut_at is not None:
            visit.close()


@pytest.fixture
def host() -> ModelHost:
    return ModelHost()


@pytest.fixture
async def server(host: ModelHost, serving: Serving) -> AsyncIterator[Any]:
    async with serving(host).listening() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def store(folder: Path) -> GgufStore:
    return GgufStore(folder)


async def pulled(store: GgufStore, model: str) -> list[str]:
    return [step.status async for step in store.pull(model)]


async def found(model: str, folder: Path) -> Path | None:
    return await asyncio.to_thread(find_model, model, folder)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_pulled_model_is_there_under_its_name(store: GgufStore, folder: Path, server: Any) -> None:
    """Whole, with its checksum beside it, and findable by name and by source."""
    source = f"{server.url}/some/tiny.gguf"

    steps = [step async for step in store.pull(source)]

    assert steps[0].status == "pulling"
    assert [(step.done, step.total) for step in steps if step.done == len(BODY)] == [(len(BODY), len(BODY))]
    assert [step.status for step in steps[-2:]] == ["verifying", "success"]
    assert (folder / "tiny.gguf").read_bytes() == BODY
    assert files(folder) == ["tiny.gguf", "tiny.gguf.json"]
    assert await found("tiny", folder) == await found(source, folder) == folder / "tiny.gguf"
    shown = await store.show("tiny")
    assert (shown.digest, shown.size, shown.detail["architecture"]) == (SHA, len(BODY), "llama")


async def test_a_second_pull_asks_nobody(store: GgufStore, server: Any) -> None:
    """Scripts may run as often as they like."""
    source = f"{server.url}/tiny.gguf"
    await pulled(store, source)
    before = len(server.visits)

    steps = await pulled(store, source)

    assert steps == ["already here"]
    assert len(server.visits) == before


async def test_a_cut_download_goes_on_where_it_stopped(
    store: GgufStore, folder: Path, server: Any, host: ModelHost
) -> None:
    """The second request asks for the rest, under the validator of the first."""
    source = f"{server.url}/tiny.gguf"
    host.cut_at = 1_500_000
    with pytest.raises(Unreachable) as cut:
        await pulled(store, source)
    host.cut_at = None

    half = await store.models()
    await pulled(store, source)

    assert "go on" in cut.value.hint
    assert "tiny" not in {model.name for model in half}
    assert server.visits[-1].headers["range"] == "bytes=1500000-"
    assert server.visits[-1].headers["if-range"] == '"v1"'
    assert (folder / "tiny.gguf").read_bytes() == BODY


async def test_a_cancelled_pull_keeps_what_came(store: GgufStore, folder: Path, server: Any) -> None:
    """Ctrl-C is a pause."""
    pull = store.pull(f"{server.url}/tiny.gguf")
    async for step in pull:
        if step.done:
            break
    await pull.aclose()

    kept = (folder / "tiny.gguf.part").stat().st_size

    assert kept >= 1 << 20
    assert await found("tiny", folder) is None


@pytest.mark.parametrize("change", ["tag", "ranges"])
async def test_a_changed_file_is_fetched_afresh(
    store: GgufStore, folder: Path, server: Any, host: ModelHost, change: str
) -> None:
    """A new version, or a server that does not resume: never the head of one on the tail of another."""
    source = f"{server.url}/tiny.gguf"
    host.cut_at = 1_500_000
    with pytest.raises(Unreachable):
        await pulled(store, source)
    host.cut_at, host.body = None, model_bytes(2_000_000)
    if change == "tag":
        host.tag = '"v2"'
    else:
        host.ranges = False

    await pulled(store, source)

    assert (folder / "tiny.gguf").read_bytes() == host.body


async def test_without_a_validator_nothing_is_resumed(store: GgufStore, server: Any, host: ModelHost) -> None:
    """A weak tag does not promise the same bytes."""
    source = f"{server.url}/tiny.gguf"
    host.tag, host.cut_at = 'W/"v1"', 1_500_000
    with pytest.raises(Unreachable):
        await pulled(store, source)
    host.cut_at = None

    await pulled(store, source)

    assert "range" not in server.visits[-1].headers


async def test_a_wrong_checksum_leaves_nothing(store: GgufStore, folder: Path, server: Any) -> None:
    """Not the model, not the part."""
    with pytest.raises(Failed, match=f"has the checksum {SHA}, expected {'0' * 64}"):
        await pulled(store, f"{server.url}/tiny.gguf#sha256={'0' * 64}")

    assert files(folder) == []


async def test_the_right_checksum_is_asked_for_in_the_name(store: GgufStore, folder: Path, server: Any) -> None:
    """And not sent to the server."""
    await pulled(store, f"{server.url}/tiny.gguf#sha256={SHA.upper()}")

    assert files(folder) == ["tiny.gguf", "tiny.gguf.json"]
    assert server.visits[-1].line == "GET /tiny.gguf"


async def test_a_page_is_no_model(store: GgufStore, folder: Path, server: Any, host: ModelHost) -> None:
    """What a captive portal sends has status 200."""
    host.body = b"<!doctype html><title>Log in</title>"

    with pytest.raises(Failed, match="does not start with 'GGUF'"):
        await pulled(store, f"{server.url}/tiny.gguf")

    assert files(folder) == []


async def test_hugging_face_layout_with_the_checksum_on_the_redirect(
    store: GgufStore, server: Any, host: ModelHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """resolve/main of the endpoint, then the address it names."""
    monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/")
    host.redirect, host.linked = "/cdn/abc?sig=1%202", SHA

    await pulled(store, "hf:owner/repo/sub/Tiny-Q8_0.gguf")

    assert [visit.line for visit in server.visits] == [
        "GET /owner/repo/resolve/main/sub/Tiny-Q8_0.gguf",
        "GET /cdn/abc?sig=1%202",
    ]
    assert (await store.show("Tiny-Q8_0")).digest == SHA


async def test_the_announced_checksum_is_checked(
    store: GgufStore, folder: Path, server: Any, host: ModelHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror may not serve something else than the hub announced."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    host.redirect, host.linked = "/cdn/abc", "1" * 64

    with pytest.raises(Failed, match="expected 1111"):
        await pulled(store, "hf:owner/repo@v2/tiny.gguf")

    assert server.visits[0].line == "GET /owner/repo/resolve/v2/tiny.gguf"
    assert files(folder) == []


async def test_a_redirect_that_never_ends_is_left(store: GgufStore, server: Any, host: ModelHost) -> None:
    """Round in circles, or to another kind of address."""
    host.redirect = "/again"
    with pytest.raises(Failed, match="redirects more than"):
        await pulled(store, f"{server.url}/tiny.gguf")

    host.redirect = "file:///etc/passwd"
    with pytest.raises(Failed, match="no web address"):
        await pulled(store, f"{server.url}/tiny.gguf")


async def test_a_refusal_is_told_in_the_servers_words(store: GgufStore, serving: Serving) -> None:
    """404 and its reason; a gated model says what to do."""

    async def refuse(visit: Any) -> None:
        visit.whole(b'{"error": "gated repo"}', "401 Unauthorized")

    async with serving(refuse).listening() as server:
        with pytest.raises(Rejected, match="401: gated repo") as refused:
            await pulled(store, f"{server.url}/tiny.gguf")

    assert "browser" in refused.value.hint


@pytest.mark.parametrize(
    "name",
    [
        "pocket-a",
        "hf:owner/file.gguf",
        "hf:owner/repo/file.bin",
        "hf:owner/repo/..gguf",
        "https://example.org/a%2F..%2F.gguf",
        "ftp://example.org/a.gguf",
        "https://example.org/a.gguf#sha256=123",
        "https://example.org/a.gguf#md5=123",
    ],
)
async def test_what_is_no_source_is_refused_with_an_example(store: GgufStore, name: str) -> None:
    """Before anything is asked or written."""
    with pytest.raises(Rejected) as refused:
        await pulled(store, name)

    assert "hf:OWNER/REPO/FILE.gguf" in refused.value.hint


def test_a_name_from_outside_stays_in_the_folder() -> None:
    """The last part of the path, decoded, must be a plain file name."""
    source = source_of("https://example.org/x/%2e%2e/My%20Model.gguf?download=1")

    assert source is not None
    assert source.file == "My-Model.gguf"


async def test_a_full_disk_says_what_to_do(store: GgufStore, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first byte is fetched."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))

    with pytest.raises(Failed, match="no room for the 3000") as refused:
        await pulled(store, f"{server.url}/tiny.gguf")

    assert "LLM_POOL_MODELS" in refused.value.hint


async def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    """Here a file is in the way; a missing permission looks the same."""
    (tmp_path / "file").touch()
    store = GgufStore(tmp_path / "file" / "models")

    with pytest.raises(Failed) as refused:
        await pulled(store, "http://127.0.0.1:9/tiny.gguf")

    assert "LLM_POOL_MODELS" in refused.value.hint


async def test_another_source_does_not_hide_behind_the_same_file_name(store: GgufStore, server: Any) -> None:
    """Two repositories may both call their file model.gguf."""
    await pulled(store, f"{server.url}/a/model.gguf")

    with pytest.raises(Rejected, match=r"from http://.*/a/model\.gguf"):
        await pulled(store, f"{server.url}/b/model.gguf")


async def test_a_removed_model_is_gone_and_a_shipped_one_stays(store: GgufStore, folder: Path, server: Any) -> None:
    """It deletes what pull brought, and nothing else."""
    await pulled(store, f"{server.url}/tiny.gguf")

    await store.remove("tiny")

    assert files(folder) == []
    with pytest.raises(Rejected, match="no model 'tiny'"):
        await store.remove("tiny")
    with pytest.raises(Rejected, match="not in the model folder"):
        await store.remove("pocket-a")
    assert "pocket-a" in {model.name for model in await store.models()}


async def test_a_model_of_the_users_own_hides_the_shipped_one(store: GgufStore, folder: Path, server: Any) -> None:
    """A pocket-a.gguf in the folder is the pocket-a that is meant."""
    await pulled(store, f"{server.url}/pocket-a.gguf")

    (pocket,) = [model for model in await store.models() if model.name == "pocket-a"]

    assert pocket.place == str(folder / "pocket-a.gguf")
    assert await found("pocket-a", folder) == folder / "pocket-a.gguf"


def test_models_are_found_by_name_path_and_among_the_shipped(tmp_path: Path) -> None:
    """A name never means a file of the working directory."""
    (tmp_path / "mine.gguf").touch()

    assert find_model("pocket-a", tmp_path / "none") == BUNDLED / "pocket-a.gguf"
    assert find_model(str(tmp_path / "mine.gguf"), tmp_path / "none") == tmp_path / "mine.gguf"
    assert find_model("./mine.gguf", tmp_path / "none", base=tmp_path) == tmp_path / "mine.gguf"
    assert find_model("mine", tmp_path) == tmp_path / "mine.gguf"
    assert find_model("mine", tmp_path / "none") is None


def test_the_folder_is_the_users_or_the_one_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """LLM_POOL_MODELS wins; without it the platform's place for data."""
    monkeypatch.delenv("LLM_POOL_MODELS", raising=False)
    assert model_folder().parts[-2:] == ("llm-pool", "models")

    monkeypatch.setenv("LLM_POOL_MODELS", str(tmp_path))
    assert model_folder() == tmp_path


async def test_two_pulls_of_one_file_do_not_mix(store: GgufStore, folder: Path, server: Any) -> None:
    """At worst one is told to try again; a model that appears is right."""
    source = f"{server.url}/tiny.gguf"

    await asyncio.gather(pulled(store, source), pulled(store, source), return_exceptions=True)

    if await found("tiny", folder) is None:
        await pulled(store, source)
    assert (folder / "tiny.gguf").read_bytes() == BODY


async def test_a_server_that_is_not_there(store: GgufStore) -> None:
    """Any ProviderError is fine, as long as it is one and names the address."""
    with pytest.raises(ProviderError, match=r"127\.0\.0\.1:9"):
        await pulled(store, "http://127.0.0.1:9/tiny.gguf")


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        ("206 Partial Content", ["Content-Range: bytes 7-2999999/3000041"], "another part"),
        ("206 Partial Content", [], "another part"),
        ("416 Range Not Satisfiable", [], "not the file it was"),
    ],
)
async def test_a_server_that_resumes_wrongly_is_started_afresh(
    store: GgufStore, folder: Path, server: Any, host: ModelHost, status: str, headers: list[str], error: str
) -> None:
    """Bytes from elsewhere are never appended, and the next pull begins at the beginning."""
    source = f"{server.url}/tiny.gguf"
    host.cut_at = 1_500_000
    with pytest.raises(Unreachable):
        await pulled(store, source)
    host.cut_at = None

    async def resume_wrongly(visit: Any) -> None:
        visit.whole(b"nonsense", status, *headers)

    server._serve = resume_wrongly
    with pytest.raises(ProviderError, match=error):
        await pulled(store, source)

    assert files(folder) == []


async def test_a_part_that_is_whole_already_is_only_verified(store: GgufStore, folder: Path, server: Any) -> None:
    """Stopped between the last byte and its check: nothing is fetched again."""
    source = f"{server.url}/tiny.gguf"
    pull = store.pull(source)
    async for step in pull:
        if step.status == "verifying":
            break
    await pull.aclose()
    asked = len(server.visits)

    steps = await pulled(store, source)

    assert steps == ["verifying", "success"]
    assert len(server.visits) == asked
    assert (folder / "tiny.gguf").read_bytes() == BODY
