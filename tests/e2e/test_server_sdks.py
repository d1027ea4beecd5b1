"""ImageKit's server SDKs of today upload with the private key, to v1 and to v2, and tell a wrong key by its error."""

from __future__ import annotations

import pytest

from tests.e2e.conformance.clients import SERVERS
from tests.e2e.conformance.on_server import WRONG_KEY, ServerClient, require_stored, run
from tests.support.server import Service

pytestmark = pytest.mark.usefixtures("node_modules")

BOTH = [client for client in SERVERS if client.speaks == ("v1", "v2")]
CLIENTS = pytest.mark.parametrize("client", BOTH, ids=lambda client: client.client)
VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])


@VERSIONS
@CLIENTS
def test_a_server_sdk_uploads(plain_service: Service, client: ServerClient, version: str) -> None:
    """Basic auth with the SDK's own odd password; Python puts the file last and Node first."""
    said = run(client, plain_service, {"do": "upload", "version": version})

    assert said.keys() == {"answer"}, said
    require_stored(plain_service, said["answer"])


@VERSIONS
@CLIENTS
def test_a_server_sdk_raises_its_own_error_for_a_wrong_private_key(
    plain_service: Service, client: ServerClient, version: str
) -> None:
    """403 is a permission error to it, and its body is our sentence."""
    stored = plain_service.stored_objects()

    said = run(client, plain_service, {"do": "upload", "version": version, "privateKey": WRONG_KEY})

    assert (said["error"], said["status"]) == ("PermissionDeniedError", 403)
    assert said["message"] == "Your account cannot be authenticated."
    assert plain_service.stored_objects() == stored
