"""Model names as Ollama compares them."""

from __future__ import annotations

from typing import Final

_HOST: Final = "registry.ollama.ai"
_NAMESPACE: Final = "library"
_TAG: Final = "latest"
_CLOUD: Final = "cloud"


def full_name(model: str) -> str:
    """
    *model* in the one spelling that all names of the same model share: lower case, with its tag, without defaults.

    ``Phi3``, ``library/phi3`` and ``https://registry.ollama.ai/library/phi3:latest`` are ``phi3:latest``.

    Source: Ollama, types/model/name.go, ``ParseNameBare`` and ``EqualFold``.
    """
    name = model.strip().lower()
    name = name.partition("://")[2] or name
    tag = _TAG
    if name.rfind(":") > name.rfind("/"):
        name, _, tag = name.rpartition(":")
    name = name.removeprefix(f"{_HOST}/").removeprefix(f"{_NAMESPACE}/")
    return f"{name}:{tag or _TAG}"


def is_cloud_name(model: str) -> bool:
    """
    Whether *model* says of itself that it runs in Ollama's cloud.

    Source: Ollama, internal/modelref/modelref.go, ``parseSourceSuffix``.
    """
    tag = full_name(model).rpartition(":")[2]
    return tag == _CLOUD or tag.endswith(f"-{_CLOUD}")
