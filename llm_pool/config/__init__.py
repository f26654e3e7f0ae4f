"""
The configuration: found, read, checked, explained.

``find()`` says which file is used, ``load(path)`` reads it into a Config or raises ConfigError for every mistake
in it at once. Keys are documented where they are typed, in ``models``.
"""

from llm_pool.config.effective import Config
from llm_pool.config.load import from_tables, load, parse
from llm_pool.config.locations import find
from llm_pool.config.models import (
    BreakerSettings,
    CacheSettings,
    ConsensusSettings,
    DiscoverySettings,
    EnsembleSettings,
    GroupSettings,
    HttpRequestSettings,
    HttpResponseSettings,
    IdempotencySettings,
    JudgeSettings,
    ProviderSettings,
    QosSettings,
    ServerSettings,
    TaskSettings,
    TelemetrySettings,
    TenantSettings,
    TrustSettings,
)
from llm_pool.config.resources import builtin_config, prompts_folder
from llm_pool.config.values import CacheDriver, Driver, Hedge, KeyField, LogFormat, Secret, StreamFormat

__all__ = [
    "BreakerSettings",
    "CacheDriver",
    "CacheSettings",
    "Config",
    "ConsensusSettings",
    "DiscoverySettings",
    "Driver",
    "EnsembleSettings",
    "GroupSettings",
    "Hedge",
    "HttpRequestSettings",
    "HttpResponseSettings",
    "IdempotencySettings",
    "JudgeSettings",
    "KeyField",
    "LogFormat",
    "ProviderSettings",
    "QosSettings",
    "Secret",
    "ServerSettings",
    "StreamFormat",
    "TaskSettings",
    "TelemetrySettings",
    "TenantSettings",
    "TrustSettings",
    "builtin_config",
    "find",
    "from_tables",
    "load",
    "parse",
    "prompts_folder",
]
