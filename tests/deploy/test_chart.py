"""The chart renders manifests that every current Kubernetes takes, and refuses values it does not know."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from llm_pool.testing.processes import running_daemon, running_upstream

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


def test_the_batch_job_is_taken_and_restricted() -> None:
    job = yaml.safe_load((ROOT / "deploy" / "batch-job.yaml").read_text(encoding="utf-8"))
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]

    for version in VERSIONS:
        kubernetes_validate.validate(job, version, strict=True)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert f'/{job["spec"]["completions"]}" ' in container["command"][2]  # as many shards as indexes


def test_each_index_of_the_batch_job_answers_its_lines(tmp_path: Path) -> None:
    """The command of the pod, run for each index; a second run finds everything answered."""
    job = yaml.safe_load((ROOT / "deploy" / "batch-job.yaml").read_text(encoding="utf-8"))
    [container] = job["spec"]["template"]["spec"]["containers"]
    (tmp_path / "llm-pool").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m llm_pool "$@"\n', encoding="utf-8")
    (tmp_path / "llm-pool").chmod(0o755)
    (tmp_path / "questions.jsonl").write_text("".join(f'"number {n}?"\n' for n in range(10)), encoding="utf-8")
    with running_upstream("--model", "phi3:mini") as upstream:
        (tmp_path / "llm-pool.toml").write_text(
            f'[[providers]]\nname = "a"\ndriver = "ollama"\nbase_url = "{upstream}"\nmodel = "phi3:mini"\n',
            encoding="utf-8",
        )
        with running_daemon(tmp_path / "llm-pool.toml") as urls:
            env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LLM_POOL_URL": urls["http"]}
            said = [
                subprocess.run(
                    container["command"],
                    env=env | {"JOB_COMPLETION_INDEX": str(index)},
                    cwd=tmp_path,
                    capture_output=True,
                    text=True,
                    check=True,
                ).stderr
                for index in (0, 1, 2, 3, 0)
            ]

    lines = [json.loads(line) for file in tmp_path.glob("answers-?.jsonl") for line in file.read_text().splitlines()]
    assert sorted(line["content"] for line in lines) == sorted(f"phi3:mini heard: number {n}?" for n in range(10))
    assert "0 answered, 0 failed, 3 were there" in said[-1]
