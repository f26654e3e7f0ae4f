"""The clients of a configuration: whose key is it, and what may they have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from llm_pool.config.models import ANY_TENANT, TenantSettings
from llm_pool.core.errors import PermissionDenied, Unauthenticated
from llm_pool.core.messages import Caps
from llm_pool.security.hmac import Slot
from llm_pool.security.keys import Key, Kind, digest_of
from llm_pool.security.principal import Grant, Principal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llm_pool.config import Config
    from llm_pool.config.values import Scope
    from llm_pool.security.jwt import Claims


class _Owner(msgspec.Struct, frozen=True):
    tenant: str
    key: str


class Tenants:
    """
    Who is known.

    Args:
        settings: ``[tenancy]``.
        keys: of the key file, by id.
    """

    def __init__(self, settings: Mapping[str, TenantSettings], keys: Mapping[str, Key]) -> None:
        self._settings, self._keys = settings, dict(keys) | dict(_configured(settings))
        self._bearers = dict(_bearers(settings, self._keys))

    def slots(self, key_id: str) -> dict[str, Slot] | None:
        """The secrets that sign for *key_id*; None where it is unknown or signs nothing."""
        key = self._keys.get(key_id)
        return key.slots if key is not None and key.kind is Kind.HMAC else None

    def by_key(self, key_id: str) -> Principal:
        """Who owns a key that is there; raises PermissionDenied where its tenant is not."""
        key = self._keys[key_id]
        return self._principal(key.tenant, key.id)

    def by_bearer(self, token: str, *, wall: float) -> tuple[Principal, str]:
        """
        Who sent a bearer key, and the name of its slot.

        A key is found by the digest of all of it, so the time that takes tells nothing about it.

        Raises:
            Unauthenticated: nobody has it, or not now.
            PermissionDenied: its tenant is not in the file.
        """
        owner, name, slot = self._bearers.get(digest_of(token), (None, "", None))
        if owner is None or slot is None or not slot.is_good(wall):
            raise Unauthenticated("bearer")
        return self._principal(owner.tenant, owner.key), name

    def by_claims(self, claims: Claims) -> Principal:
        """Who a token speaks for; raises PermissionDenied where its tenant is not known here."""
        settings = self._find(claims.tenant_id)
        return Principal(
            name=claims.subject,
            tenant_id=claims.tenant_id,
            project_id=claims.project_id,
            scopes=claims.scopes,
            grant=grant_of(settings),
        )

    def grant(self, tenant: str) -> Grant:
        """What *tenant* may have; no limits where it is not known."""
        settings = self._settings.get(tenant) or self._settings.get(ANY_TENANT)
        return Grant() if settings is None else grant_of(settings)

    def _principal(self, tenant: str, key_id: str) -> Principal:
        settings = self._find(tenant)
        scopes: frozenset[Scope] = frozenset(settings.scopes)
        return Principal(name=key_id, tenant_id=tenant, scopes=scopes, grant=grant_of(settings))

    def _find(self, tenant: str) -> TenantSettings:
        settings = self._settings.get(tenant) or self._settings.get(ANY_TENANT)
        if settings is None or tenant == ANY_TENANT:
            raise PermissionDenied("this tenant is not served here")
        return settings


def grant_of(settings: TenantSettings) -> Grant:
    """What ``[tenancy.NAME]`` gives."""
    rate = settings.rate_limit_rps
    burst = settings.rate_limit_burst or max(1.0, rate or 1.0)
    return Grant(
        rate=rate,
        burst=float(burst),
        in_flight=settings.max_in_flight,
        tokens_per_day=settings.tokens_per_day,
        caps=Caps(max_tokens=settings.max_tokens, deadline=settings.max_deadline, providers=settings.max_providers),
        tasks=settings.tasks,
        strategies=settings.strategies,
    )


def requires_authentication(config: Config) -> bool:
    """Whether clients have to prove who they are."""
    return bool(config.tenancy or config.security.jwt or config.security.keys_file)


def _configured(settings: Mapping[str, TenantSettings]) -> Iterator[tuple[str, Key]]:
    """The keys in the configuration itself: their ids are the tenants' names, and they sign or are sent."""
    for tenant, its in settings.items():
        secrets = {"a": its.api_key, "b": its.next_api_key}
        slots = {name: Slot(secret=secret.reveal()) for name, secret in secrets.items() if secret is not None}
        if slots:
            yield tenant, Key(id=tenant, tenant=tenant, kind=Kind.HMAC, slots=slots, created=0.0)


def _bearers(
    settings: Mapping[str, TenantSettings], keys: Mapping[str, Key]
) -> Iterator[tuple[str, tuple[_Owner, str, Slot]]]:
    for key in keys.values():
        is_configured = key.id in settings and key.id == key.tenant
        for name, slot in key.slots.items():
            if key.kind is Kind.BEARER:
                yield slot.secret, (_Owner(key.tenant, key.id), name, slot)
            elif is_configured:
                yield digest_of(slot.secret), (_Owner(key.tenant, key.id), name, slot)
