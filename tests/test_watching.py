"""The dashboard and the alerts ask for metrics, labels, events and codes that exist, and Prometheus can read them."""

from __future__ import annotations

import json
import re
from typing import Any

import promql_parser
import pytest
import yaml

from tests.support.service import ROOT
from tokensvc.adapters.metrics import Metrics
from tokensvc.core.errors import Code

DASHBOARD = ROOT / "deploy/grafana/tokensvc.json"
RULES = ROOT / "deploy/prometheus/tokensvc.rules.yml"
PAGE = (ROOT / "docs/metrics.md").read_text()
LABELS_OF_PROMETHEUS = {"job", "instance"}
DOCUMENTED = re.findall(r"^\| `((?:sum|increase|histogram).*?)` \|", PAGE, re.MULTILINE)
CODES = {*map(str, Code), "store.unavailable", "internal"}


def panels() -> list[dict[str, Any]]:
    """Those of the dashboard."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def alerts() -> list[dict[str, Any]]:
    """All of them."""
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return found


EXPRESSIONS = {
    **{f"{panel['title']} {target['refId']}": target["expr"] for panel in panels() for target in panel["targets"]},
    **{alert["alert"]: alert["expr"] for alert in alerts()},
    **{f"docs {number}": text.replace("\\|", "|") for number, text in enumerate(DOCUMENTED)},
}


def documented() -> dict[str, tuple[str, set[str]]]:
    """Each metric of the page with its kind and its labels."""
    rows = re.findall(r"^\| `(tokensvc_[a-z_]+)` \| (\w+) \|([^|]*)\|", PAGE, re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def selectors(expression: str) -> list[tuple[str, str]]:
    """Each metric that is asked for, with what stands between its braces."""
    return re.findall(r"\b(tokensvc_[a-z_]+|up)\b(?:\{([^}]*)\})?", expression)


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_prometheus_reads_it_and_all_that_it_asks_for_exists(expression: str) -> None:
    promql_parser.parse(expression.replace("$__rate_interval", "5m").replace("$instance", ".*"))
    asked = selectors(expression)
    assert asked
    for metric, matchers in asked:
        if metric == "up":
            continue
        name = re.sub("_(bucket|count|sum)$", "", metric)
        kind, labels = documented()[name]
        assert (name != metric) is (kind == "histogram"), "a histogram is asked for by its parts"
        assert (kind != "gauge") is bool(re.search(rf"(?:rate|increase)\({metric}\b", expression))
        used = dict(re.findall(r'(\w+)=~?"([^"]*)"', matchers))
        assert used.keys() <= labels | LABELS_OF_PROMETHEUS
        assert set(used.get("event", "").split("|")) <= events() | {""}
        assert set(used.get("code", "").split("|")) <= CODES | {""}
    grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    known = set().union(*(documented()[re.sub("_(bucket|count|sum)$", "", m)][1] for m, _ in asked if m != "up"))
    assert grouped <= known | LABELS_OF_PROMETHEUS | {"le"}


def events() -> set[str]:
    """Those of the page."""
    _, _, table = PAGE.partition("| event | when |")
    rows = re.findall(r"^\| (`.*?) \|", table.partition("## ")[0], re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}


def test_every_metric_is_on_the_dashboard() -> None:
    shown = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    assert [name for name in documented() if name not in shown] == []


def test_what_is_exported_is_what_is_documented_with_its_kind() -> None:
    told = dict(re.findall(r"^# TYPE ([a-z_]+) (\w+)$", Metrics().text(lambda: 0).decode(), re.MULTILINE))
    assert told == {name: kind for name, (kind, _) in documented().items()}


def test_panels_have_a_place_of_their_own_and_a_legend() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        for target in panel["targets"]:
            kept = {label for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in group.split(", ")}
            kept |= set() if kept else {"instance", "worker"}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept, panel["title"]
    assert len({panel["id"] for panel in panels()}) == len({panel["title"] for panel in panels()}) == len(panels())


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_an_alert_says_what_is_the_matter_and_how_bad_it_is(alert: dict[str, Any]) -> None:
    assert alert["alert"].startswith("Tokensvc")
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert alert["annotations"].keys() == {"summary", "description"}
    for page in re.findall(r"docs/\S+\.md", alert["annotations"]["description"]):
        assert (ROOT / page).exists()
