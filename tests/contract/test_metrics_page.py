# SPDX-License-Identifier: Apache-2.0
"""The page of metrics is true both ways, and alerts are about metrics that there are."""

import re
from collections.abc import Mapping
from pathlib import Path

import yaml
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.environments import ROOT
from tests.metric_families import of_processes, text_of_project

PAGE = (ROOT / "docs" / "metrics.md").read_text()
ROW = re.compile(r"^\| `(colonnade_\w+)` \|([^|]*)\|(.*)\|$", re.MULTILINE)
RULES = sorted((ROOT / "examples" / "alerts").glob("*.rules.yml"))
OF_A_PROJECT = {"loadbalancer", "loadbalancer_name"} | {
    f"{noun}{end}" for noun in ("listener", "pool", "member") for end in ("", "_name")
}


async def told(folder: Path) -> Mapping[str, set[str]]:
    """The labels of each metric, by the name that it has on the page."""
    found: dict[str, set[str]] = {}
    project = list(text_string_to_metric_families(text_of_project().decode()))
    for metric in (*await of_processes(folder), *project):
        assert metric.documentation, metric.name
        assert metric.samples, f"{metric.name}: nothing to be seen of it"
        labels = {label for one in metric.samples for label in one.labels} - {"le"}
        own = labels - OF_A_PROJECT if metric in project else labels
        assert found.setdefault(name_of(metric), own) == own
    return found


def name_of(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


async def test_each_metric_is_on_the_page_and_the_page_has_no_others(tmp_path: Path) -> None:
    rows = ROW.findall(PAGE)
    names = [name for name, _, _ in rows]
    assert len(names) == len(set(names)), "each once"
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels, _ in rows}
    assert documented == await told(tmp_path)


async def test_alerts_ask_for_metrics_that_there_are(tmp_path: Path) -> None:
    there = (await told(tmp_path)).keys()
    for path in RULES:
        for name in re.findall(r"colonnade_\w+", _expressions(path)):
            plain = re.sub(r"_(bucket|sum|count)$", "", name)
            assert plain in there, f"{path.name}: {name}"


def test_each_alert_is_tried() -> None:
    for path in RULES:
        named = re.findall(r"- alert: (\w+)", path.read_text())
        tried = (ROOT / "tests" / "alerts" / path.name.replace(".rules", ".test")).read_text()
        missing = [name for name in named if f'alertname="{name}"' not in tried]
        assert missing == []


def _expressions(path: Path) -> str:
    groups = yaml.safe_load(path.read_text())["groups"]
    return "\n".join(rule["expr"] for group in groups for rule in group["rules"])
