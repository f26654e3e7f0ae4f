"""The chart renders manifests that every current Kubernetes takes, and refuses values it does not know."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "chart"
HELM = shutil.which("helm", path=f"{ROOT / '.tools'}{os.pathsep}{os.environ.get('PATH', '')}")
VERSIONS = ("1.33", "1.34", "1.35", "1.36", "1.37")
ALL = ("autoscaling", "networkPolicy", "serviceMonitor", "prometheusRule")
MATRIX: dict[str, list[str]] = {
    "defaults": [],
    "everything": [f"{part}.enabled=true" for part in ALL],
    "tls": ["tls=true", "serviceMonitor.enabled=true", "serviceMonitor.bearerSecret.name=s"],
    "bare": ["secretName=", "podDisruptionBudget.enabled=false", "preStop=0", "replicas=1"],
    "prompts": [r"prompts.mine\.md=hello", "existingConfigMap=mine"],
}

needs_helm = pytest.mark.skipif(HELM is None, reason="helm is not here: `poe helm` brings it")


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    assert HELM is not None
    return subprocess.run([HELM, *words], capture_output=True, text=True, check=False)


def rendered(*values: str) -> list[dict[str, Any]]:
    said = helm("template", "llm-pool", str(CHART), *(word for value in values for word in ("--set", value)))
    assert said.returncode == 0, said.stderr
    return [manifest for manifest in yaml.safe_load_all(said.stdout) if manifest]


@needs_helm
def test_lint_finds_nothing() -> None:
    said = helm("lint", "--strict", str(CHART))

    assert said.returncode == 0, said.stdout


@needs_helm
@pytest.mark.parametrize("name", MATRIX)
def test_every_current_kubernetes_takes_it(name: str) -> None:
    """Strictly: a field that nobody knows is an error. Resources of operators have schemas of their own."""
    manifests = rendered(*MATRIX[name])

    own = [one for one in manifests if "monitoring.coreos.com" not in one["apiVersion"]]
    assert {"Deployment", "Service", "ServiceAccount"} <= {one["kind"] for one in own}
    for version in VERSIONS:
        for manifest in own:
            kubernetes_validate.validate(manifest, version, strict=True)


@needs_helm
@pytest.mark.parametrize(
    "value", ["replicas=0", "replica=2", "service.http=70000", "image.pullPolicy=Sometimes", r"prompts.a\.txt=x"]
)
def test_a_value_it_does_not_know_is_refused(value: str) -> None:
    said = helm("template", str(CHART), "--set", value)

    assert said.returncode != 0
    assert "values don't meet the specifications" in said.stderr


@needs_helm
def test_pods_are_restricted() -> None:
    """What the profile `restricted` of Pod Security asks for. Source: kubernetes.io, Pod Security Standards."""
    [deployment] = [one for one in rendered() if one["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@needs_helm
def test_there_is_time_to_end() -> None:
    """The pod may live as long as preStop and the daemon's grace together."""
    [deployment] = [one for one in rendered("grace=20", "preStop=7") if one["kind"] == "Deployment"]

    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 27


@needs_helm
def test_the_plain_manifests_are_the_charts() -> None:
    """`poe manifests` writes them."""
    written = (ROOT / "deploy" / "kustomize" / "llm-pool.yaml").read_text(encoding="utf-8")

    assert [one for one in yaml.safe_load_all(written) if one] == rendered()


def test_alerts_ask_for_metrics_that_are_there() -> None:
    """Each rule is whole, and the daemon has what it looks at."""
    rules = yaml.safe_load((CHART / "alerts.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    said = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")

    for rule in rules:
        assert {"alert", "expr", "for", "labels", "annotations"} <= set(rule)
        names = set(re.findall(r"llmpool_\w+", rule["expr"]))
        assert names, rule["alert"]
        assert {name for name in names if f"`{name}" not in said} == set()
