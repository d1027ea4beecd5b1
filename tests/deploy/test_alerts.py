"""Each alert fires when it should and not before, by Prometheus' own reckoning: `promtool test rules`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.test_watching import RULES, alerts

if TYPE_CHECKING:
    from collections.abc import Mapping

Series = dict[str, str]
"""Each with its values from one minute to the next, in Prometheus' short form."""

ALERTS: dict[str, dict[str, Any]] = {alert["alert"]: alert for alert in alerts()}
MINUTES_WITHOUT = 40


def event(event: str, values: str, code: str = "", instance: str = "a") -> Series:
    return {f'tokensvc_events_total{{instance="{instance}", event="{event}", code="{code}"}}': values}


def total(metric: str, values: str) -> Series:
    return {f'tokensvc_{metric}{{instance="a"}}': values}


def recorded(within_250_ms: str, at_all: str, script: str = "record") -> Series:
    bounds = {"0.1": "0x60", "0.25": within_250_ms, "0.5": at_all, "+Inf": at_all}
    labels = f'instance="a", script="{script}"'
    return {f'tokensvc_store_seconds_bucket{{{labels}, le="{bound}"}}': values for bound, values in bounds.items()}


ONCE = "0 1x60"
NEVER = "7x60"

FIRES: Mapping[str, tuple[Series, int]] = {
    "TokensvcDown": ({'up{job="tokensvc", instance="a"}': "0x60"}, 0),
    "TokensvcFails": (event("outage", "0+1x60", "store.unavailable"), 1),
    "TokensvcStoreGivenUp": (total("breaker_open", "1x60"), 0),
    "TokensvcCredentialsStale": (total("epoch_changes_total", ONCE) | event("stale", "0+1x60"), 1),
    "TokensvcStoreWentBack": (total("rollbacks_total", ONCE), 1),
    "TokensvcReplays": (event("replayed", "0+6x60") | event("redeemed", "0+100x60"), 2),
    "TokensvcForgeries": (
        event("refused", "0+31x60", "credential.invalid") | event("refused", "0+30x60", "caller.invalid"),
        10,
    ),
    "TokensvcAuditMissed": (event("audit_missed", ONCE), 1),
    "TokensvcThrottleOpen": (total("throttle_open_total", "0+1x60"), 1),
    "TokensvcStoreSlow": (recorded("0+97x60", "0+100x60"), 1),
    "TokensvcIdentityProviderSilent": (event("keys_missed", "0+1x60"), 3),
}
"""Series by which the alert's condition holds, from that minute on."""

DOES_NOT: Mapping[str, tuple[Series, ...]] = {
    "TokensvcDown": ({'up{job="tokensvc", instance="a"}': "1x60"}, {'up{job="other", instance="a"}': "0x60"}),
    "TokensvcFails": (event("outage", NEVER), event("refused", "0+9x60", "credential.expired")),
    "TokensvcStoreGivenUp": (total("breaker_open", "0x60"),),
    "TokensvcCredentialsStale": (
        total("epoch_changes_total", ONCE) | event("stale", NEVER),
        total("epoch_changes_total", NEVER) | event("stale", "0+1x60"),
    ),
    "TokensvcStoreWentBack": (total("rollbacks_total", NEVER),),
    "TokensvcReplays": (
        event("replayed", "0+5x60") | event("redeemed", "0+100x60"),
        event("replayed", "0+1x10 10x50") | event("redeemed", "0+1x60"),
    ),
    "TokensvcForgeries": (
        event("refused", "0+60x60", "credential.invalid"),
        event("refused", "0+31x60", "caller.invalid", "a") | event("refused", "0+31x60", "caller.invalid", "b"),
        event("refused", "0+99x60", "credential.expired"),
    ),
    "TokensvcAuditMissed": (event("audit_missed", NEVER),),
    "TokensvcThrottleOpen": (total("throttle_open_total", NEVER), total("throttle_open_total", "0x10 1x50")),
    "TokensvcStoreSlow": (recorded("0+99x60", "0+100x60"), recorded("0+1x60", "0+100x60", "redeem")),
    "TokensvcIdentityProviderSilent": (event("keys_missed", "0 1x20 2x40"), event("keys_missed", "0 9x60")),
}
"""Series by which it does not: one below the limit, what passes, and what is another's."""


def promtool(*arguments: str | Path) -> None:
    beside = Path(sys.executable).with_name("promtool")
    program = beside if beside.exists() else shutil.which("promtool")
    assert program, "promtool is missing: it is in Debian's package prometheus, and `make test` brings it"
    told = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def minutes(duration: str) -> int:
    assert duration.endswith("m")
    return int(duration[:-1])


def expected(alert: dict[str, Any]) -> dict[str, Any]:
    labels = {**alert["labels"], "instance": "a"}
    if alert["alert"] == "TokensvcDown":
        labels["job"] = "tokensvc"
    annotations = {name: text.replace("{{ $labels.instance }}", "a") for name, text in alert["annotations"].items()}
    return {"exp_labels": labels, "exp_annotations": annotations}


def require(folder: Path, name: str, series: Series, when: Mapping[int, list[dict[str, Any]]]) -> None:
    """At those minutes that alert fires so."""
    looked = [{"eval_time": f"{minute}m", "alertname": name, "exp_alerts": each} for minute, each in when.items()]
    inputs = [{"series": each, "values": values} for each, values in series.items()]
    test = {"interval": "1m", "input_series": inputs, "alert_rule_test": looked}
    file = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
    (folder / "test.yml").write_text(yaml.safe_dump(file))
    promtool("test", "rules", folder / "test.yml")


def test_prometheus_reads_the_rules() -> None:
    promtool("check", "rules", RULES)


@pytest.mark.parametrize("name", ALERTS)
def test_it_fires_when_its_condition_has_held_for_its_time_and_not_a_minute_before(tmp_path: Path, name: str) -> None:
    alert = ALERTS[name]
    series, begins = FIRES[name]
    fires = begins + minutes(alert.get("for", "0m"))
    require(tmp_path, name, series, {**({fires - 1: []} if fires else {}), fires: [expected(alert)]})


@pytest.mark.parametrize(
    ("name", "series"),
    [
        pytest.param(name, series, id=f"{name} {number}")
        for name, each in DOES_NOT.items()
        for number, series in enumerate(each)
    ],
)
def test_it_does_not_fire_without_cause(tmp_path: Path, name: str, series: Series) -> None:
    require(tmp_path, name, series, {minute: [] for minute in range(MINUTES_WITHOUT)})


def test_every_alert_is_here() -> None:
    assert ALERTS.keys() == FIRES.keys() == DOES_NOT.keys()
