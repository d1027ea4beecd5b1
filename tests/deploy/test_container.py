"""deploy/Dockerfile, built by a builder without a daemon on Debian's own Python, and run as it is meant to be.

The base is made here from Debian's packages, because no registry of images is asked for anything. It is also the oldest
Python that we support: what the lock file leaves out for it is missed here first.
"""

from __future__ import annotations

import ast
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.processes import PATIENCE_SECONDS, until
from tests.support.service import ROOT, Client, Deployment, Running, await_ready, free_port

USER: Final = 10001
_BUILD_SECONDS: Final = 900
_LEAN: Final = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
_RUN: Final = """\
set -e
root=$1 data=$2 settings=$3
shift 3
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$data"
chown {user}:{user} "$data"
mount --bind "$data" "$root/var/lib/tokensvc"
mount --bind "$settings" "$root/mnt"
exec chroot "$root" setpriv --reuid {user} --regid {user} --clear-groups --no-new-privs --bounding-set=-all env "$@"
"""


@dataclass(frozen=True, slots=True)
class Image:
    """What was built: the folder of its files, and the configuration that a runtime reads."""

    root: Path
    config: dict[str, Any]

    def command(self, folder: Path, data: Path, arguments: list[str], **settings: str) -> list[str]:
        """Run something in it with a read-only root, a tmpfs, no privileges; `folder` is mounted at /mnt."""
        script = _RUN.format(user=USER)
        variables = [*self.config["Env"], *(f"{name}={text}" for name, text in settings.items())]
        return [
            "unshare",
            "--mount",
            "sh",
            "-c",
            script,
            "-",
            str(self.root),
            str(data),
            str(folder),
            *variables,
            *arguments,
        ]


class Builder:
    """buildah with its storage in a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str) -> str:
        """Run one of its commands; what it prints."""
        where = ["--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run")]
        return run(["buildah", *where, "--storage-driver", "overlay", *arguments]).strip()


def run(command: list[str]) -> str:
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False)
    assert ran.returncode == 0, f"{shlex.join(command)}\n{ran.stdout[-4000:]}\n{ran.stderr[-4000:]}"
    return ran.stdout


def make_base(root: Path) -> None:
    """Debian with Python, of the release and from the mirror of this machine, with its way to PyPI."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    mirror = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]).split()[0]
    packages = "--include=python3-venv,ca-certificates"
    run(["debootstrap", "--variant=minbase", packages, release["VERSION_CODENAME"].strip('"'), str(root), mirror])
    for name in _LEAN:
        shutil.rmtree(root / name, ignore_errors=True)
    lines = ["[global]"]
    for name, text in pip_options().items():
        if name == "cert":
            shutil.copy(text, root / "etc/ssl/registry.pem")
            lines.append("cert = /etc/ssl/registry.pem")
        elif name in {"index-url", "extra-index-url", "trusted-host"}:
            lines.append(f"{name} = {' '.join(text.split())}")
    (root / "etc/pip.conf").write_text("\n".join(lines) + "\n")


def pip_options() -> dict[str, str]:
    """What pip is told on this machine, by its files and by the environment, which counts for more."""
    found: dict[str, str] = {}
    for line in sorted(run([sys.executable, "-m", "pip", "config", "list"]).splitlines(), reverse=True):
        name, _, text = line.partition("=")
        found[name.rpartition(".")[2]] = ast.literal_eval(text)
    return found


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("image")
    buildah, base = Builder(folder), folder / "base"
    make_base(base)
    scratch = buildah("from", "scratch")
    buildah("add", "-q", scratch, str(base), "/")
    buildah("commit", "-q", scratch, "localhost/base")
    options = ["--format", "docker", "--isolation", "chroot", "--network", "host", "--build-arg", "BASE=localhost/base"]
    buildah("bud", *options, "-f", "deploy/Dockerfile", "-t", "localhost/tokensvc", ".")
    container = buildah("from", "localhost/tokensvc")
    root = Path(buildah("mount", container))
    inspected = json.loads(buildah("inspect", "--type", "image", "localhost/tokensvc"))
    try:
        yield Image(root, inspected["Docker"]["config"])
    finally:
        buildah("umount", container)
        buildah("rm", "--all")
        for mounted in (folder / "storage/overlay", folder / "storage"):
            subprocess.run(["umount", "--lazy", str(mounted)], capture_output=True, check=False)


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    made = Deployment(tmp_path)
    made.write()
    (tmp_path / "private-key").write_text(made.private_key)
    for path in (tmp_path, made.toml, tmp_path / "private-key"):
        os.chown(path, USER, USER)
    (tmp_path / "private-key").chmod(0o400)
    return made


def test_the_image_issues_and_takes_uploads_with_a_read_only_root_and_no_privileges(
    image: Image, deployment: Deployment, tmp_path: Path
) -> None:
    assert image.config["User"] == f"{USER}:{USER}"
    assert image.config["Entrypoint"] == ["tokensvc"]
    assert image.config["Cmd"] == ["serve"]
    port = free_port()
    settings = {
        "IMAGEKIT_PUBLIC_KEY": deployment.public_key,
        "IMAGEKIT_PRIVATE_KEY_FILE": "/mnt/private-key",
        "TOKENSVC_CONFIG": "/mnt/tokensvc.toml",
        "WEB_CONCURRENCY": "1",
        "PORT": str(port),
    }
    start = [*image.config["Entrypoint"], *image.config["Cmd"], "--bind", f"127.0.0.1:{port}"]
    command = image.command(tmp_path, deployment.data, start, **settings)
    client = Client(port, deployment.api_key)
    spent: dict[str, str] = {}
    for _ in range(2):  # the second start is on the volume of the first
        with Running(command, {}, log=tmp_path / "log", data=deployment.data) as service:
            await_ready(service, client)
            for pid in {*service.workers, service.valkey}:
                status = dict(
                    line.split(":\t", 1)
                    for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                    if ":\t" in line
                )
                assert status["Uid"].split() == [str(USER)] * 4
                assert (status["CapBnd"], status["CapEff"], status["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
            health = image.config["Healthcheck"]["Test"]
            assert health[0] == "CMD"
            checked = image.command(tmp_path, deployment.data, health[1:], PORT=str(port))
            assert subprocess.run(checked, capture_output=True, check=False).returncode == 0
            nobody = image.command(tmp_path, deployment.data, health[1:], PORT=str(free_port()))
            assert subprocess.run(nobody, capture_output=True, check=False).returncode == 1
            if spent:
                assert client.upload(spent).status == 400
            spent = client.credential()
            assert client.upload(spent).status == 200
            assert client.upload(spent).status == 400
            service.send(signal.SIGTERM)
            assert service.process.wait(PATIENCE_SECONDS) == 0
            until(lambda: not service.all())


def test_the_image_has_every_extra(image: Image, tmp_path: Path) -> None:
    """Where nothing can be installed later, a bucket and a collector of traces must be a matter of configuration."""
    extras = "import tokensvc.adapters.s3_files, tokensvc.adapters.tracing, opentelemetry.exporter.otlp.proto.http"
    run(image.command(tmp_path, tmp_path / "data", ["python3", "-c", extras]))


def test_nothing_but_the_program_is_in_the_image(image: Image) -> None:
    assert not (image.root / "src").exists()
    assert {path.name for path in (image.root / "opt/tokensvc").iterdir()} == {
        "bin", "include", "lib", "lib64", "pyvenv.cfg", "wsgi.py"
    }  # fmt: skip
    assert not list((image.root / "opt/tokensvc").rglob("tests/support"))
    assert (image.root / "var/lib/tokensvc").stat().st_uid == USER
    assert (image.root / "var/lib/tokensvc").stat().st_mode & 0o777 == 0o700
