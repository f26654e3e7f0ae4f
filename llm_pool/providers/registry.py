"""From a provider's section in the configuration to the thing that talks to its backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.config import Driver
from llm_pool.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from llm_pool.config import ProviderSettings, Secret
    from llm_pool.core.interfaces import ModelStore, Provider
    from llm_pool.providers.openai_server import OpenAIServer
    from llm_pool.providers.transport import TlsFiles, Transport


def build_provider(settings: ProviderSettings, transport: Transport, *, path: Path) -> Provider:
    """
    The bare provider that *settings* describe, without any policy; asks nobody yet.

    Args:
        settings: a section of ``[[providers]]``.
        transport: the HTTP client all of them share.
        path: the configuration file; relative paths in it count from its folder.

    Raises:
        ConfigError: the section cannot be used.
    """
    match settings.driver:
        case Driver.OLLAMA:
            from llm_pool.providers.ollama import OllamaProvider

            return OllamaProvider(
                name=settings.name,
                base_url=_url(settings),
                model=settings.model,
                transport=transport,
                api_key=_key(settings.api_key),
                keep_alive=settings.keep_alive,
                context=settings.context,
                headers=_headers(settings),
                extra_body=settings.extra_body,
                think=settings.think,
                tls=_tls(settings, path),
            )
        case Driver.OPENAI:
            from llm_pool.providers.openai import OpenAIProvider

            return OpenAIProvider(
                name=settings.name,
                base_url=_url(settings),
                model=settings.model,
                transport=transport,
                api_key=_key(settings.api_key),
                context=settings.context,
                headers=_headers(settings),
                extra_body=settings.extra_body,
                think=settings.think,
                tls=_tls(settings, path),
            )
        case Driver.LLAMACPP:
            from llm_pool.providers.llamacpp import LlamaCppProvider

            return LlamaCppProvider(
                name=settings.name,
                model=settings.model,
                transport=transport,
                base=path.parent,
                context=settings.context,
                threads=settings.threads,
            )
        case Driver.HTTP:
            return _http_provider(settings, transport, path)


def store(settings: ProviderSettings, transport: Transport, *, path: Path) -> ModelStore | None:
    """Where the provider's models are kept, if that can be looked at; arguments and errors as ``build_provider``."""
    match settings.driver:
        case Driver.OLLAMA:
            from llm_pool.providers.ollama import OllamaStore

            return OllamaStore(
                name=settings.name,
                base_url=_url(settings),
                transport=transport,
                api_key=_key(settings.api_key),
                headers=_headers(settings),
                tls=_tls(settings, path),
            )
        case Driver.OPENAI:
            from llm_pool.providers.openai_store import OpenAIStore

            return OpenAIStore(openai_server(settings, transport, path=path))
        case Driver.LLAMACPP:
            from llm_pool.providers.gguf import GgufStore

            return GgufStore(name=settings.name)
        case _:
            return None


def openai_server(settings: ProviderSettings, transport: Transport, *, path: Path) -> OpenAIServer:
    """The server of a provider that speaks ``openai``; arguments and errors as ``build_provider``."""
    from llm_pool.providers.openai_server import OpenAIServer
    from llm_pool.providers.transport import with_bearer

    return OpenAIServer(
        name=settings.name,
        base_url=_url(settings),
        transport=transport,
        headers=with_bearer(_headers(settings), _key(settings.api_key)),
        tls=_tls(settings, path),
    )


def _http_provider(settings: ProviderSettings, transport: Transport, path: Path) -> Provider:
    from llm_pool.config import HttpRequestSettings, HttpResponseSettings
    from llm_pool.providers.http import HttpProvider

    request = settings.request or HttpRequestSettings()
    response = settings.response or HttpResponseSettings()
    return HttpProvider(
        name=settings.name,
        base_url=_url(settings),
        model=settings.model,
        transport=transport,
        path=request.path,
        headers=_headers(settings) | {name: value.reveal() for name, value in request.headers.items()},
        body=request.body,
        extra_body=settings.extra_body,
        think=settings.think,
        context=settings.context,
        tls=_tls(settings, path),
        answers=response.format.value,
        text=response.text,
        error=response.error,
        done=response.done,
    )


def _url(settings: ProviderSettings) -> str:
    if settings.base_url is None:  # the configuration has checked it; this is for hand-made settings
        raise ConfigError(path=None, key=f"providers.{settings.name}.base_url", got="nothing", want="an address")
    return settings.base_url


def _headers(settings: ProviderSettings) -> dict[str, str]:
    return {name: value.reveal() for name, value in settings.headers.items()}


def _tls(settings: ProviderSettings, path: Path) -> TlsFiles:
    from llm_pool.providers.transport import TlsFiles

    files = (settings.ca_file, settings.client_cert, settings.client_key)
    return TlsFiles(*(None if name is None else path.parent / name for name in files))


def _key(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()
