"""The command line. Exit status: 0 yes, 1 refused, 2 usage or configuration, 3 outage.

A command's module is loaded when the command is called: `serve` would take half a second longer with those of all.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

from tokensvc import __version__

_COMMANDS: Final = {
    "dev": "developing.dev_command",
    "serve": "running.serve",
    "store": "running.store",
    "preflight": "running.preflight",
    "issue": "issuing.issue",
    "verify": "spending.verify_command",
    "explain": "spending.explain",
    "redeem": "spending.redeem",
    "revoke": "revoking.revoke",
    "upload": "uploading.upload",
    "keys": "key_making.keys",
    "policy": "policies.policy",
    "config": "configuration.config_group",
    "doctor": "doctoring.doctor",
    "audit": "audit.audit",
}
"""Where each command is: the module here, and its name there."""


class _Commands(click.Group):
    """A group that loads a command when it is asked for it."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All names."""
        return sorted(_COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(".")
        command: click.Command = getattr(import_module(f".{module}", __package__), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tokensvc")
def main() -> None:
    """Issue single-use ImageKit upload credentials, and serve ImageKit's upload API."""
