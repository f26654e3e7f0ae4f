"""
The bill of materials of a lock file, in CycloneDX.

    python tools/sbom.py [requirements.lock] > sbom.cdx.json

A component for each locked distribution, with the SHA-256 of every file of it that the lock allows. The lock is the
only source: nothing is asked of a package index. The same lock gives the same bytes.

Source: CycloneDX 1.6, ECMA-424; package URLs by PEP 503 and the purl specification, type ``pypi``.
"""

from __future__ import annotations

import re
import sys
import tomllib
import uuid
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[1]
_LOCKED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\]+?))?\s*\\?$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def components(lock: str) -> list[dict[str, Any]]:
    """
    The distributions that *lock*, the text of a requirements file with hashes, names; in its order.

    Raises:
        ValueError: a line is neither a locked distribution nor a hash of one, or one has no hash.
    """
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lock.splitlines(), 1):
        text = line.strip()
        if (locked := _LOCKED.match(line)) is not None:
            found.append(_component(locked["name"], locked["version"], locked["marker"]))
        elif found and (digest := _HASH.search(text)) is not None:
            found[-1]["hashes"].append({"alg": "SHA-256", "content": digest[1]})
        elif text and not text.startswith("#"):
            raise ValueError(f"line {number}: expected NAME==VERSION or --hash=sha256:…, got {text[:80]!r}")
    if bare := [one["name"] for one in found if not one["hashes"]]:
        raise ValueError(f"no hash for {', '.join(bare)}: write the lock with `poe lock`")
    return found


def bill(lock: str, project: dict[str, Any]) -> dict[str, Any]:
    """
    The bill of materials.

    Args:
        lock: as for ``components``.
        project: name, version and license of the whole, as in ``pyproject.toml``.
    """
    whole = {
        "type": "application",
        "bom-ref": f"pkg:pypi/{project['name']}@{project['version']}",
        "name": project["name"],
        "version": project["version"],
        "purl": f"pkg:pypi/{project['name']}@{project['version']}",
        "licenses": [{"license": {"id": project["license"]}}],
    }
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, whole['bom-ref'] + lock)}",
        "version": 1,
        "metadata": {"component": whole},
        "components": components(lock),
    }


def _component(name: str, version: str, marker: str | None) -> dict[str, Any]:
    purl = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version}"
    component: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if marker is not None:
        component["properties"] = [{"name": "python:marker", "value": marker}]
    return component | {"hashes": []}


def main() -> int:
    """Write the bill to stdout."""
    lock = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "requirements.lock"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    sys.stdout.write(
        msgspec.json.format(msgspec.json.encode(bill(lock.read_text(), project)), indent=2).decode() + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
