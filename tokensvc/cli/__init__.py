"""The command line. Exit status: 0 yes, 1 refused, 2 usage or configuration, 3 outage."""

from __future__ import annotations

import click

from tokensvc import __version__

from . import (
    audit,
    configuration,
    developing,
    doctoring,
    issuing,
    key_making,
    policies,
    revoking,
    running,
    spending,
    uploading,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tokensvc")
def main() -> None:
    """Issue single-use ImageKit upload credentials, and serve ImageKit's upload API."""


for _command in (
    developing.dev_command,
    running.serve,
    running.store,
    running.preflight,
    issuing.issue,
    spending.verify_command,
    spending.explain,
    spending.redeem,
    revoking.revoke,
    uploading.upload,
    key_making.keys,
    policies.policy,
    configuration.config_group,
    doctoring.doctor,
    audit.audit,
):
    main.add_command(_command)
