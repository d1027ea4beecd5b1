# mypy: ignore-errors
"""Runs imagekitio 4 in a process of its own, for its package has the name of the newest one's.

Standard input: {"do": "upload" or "sign", …}; output: one JSON object. It has no setting for the upload address, so
that constant is replaced; all else is as released.
"""

import base64
import json
import sys

import imagekitio
from imagekitio.constants.url import URL
from imagekitio.exceptions.ForbiddenException import ForbiddenException
from imagekitio.models.UploadFileRequestOptions import UploadFileRequestOptions

wanted = json.load(sys.stdin)
URL.UPLOAD_BASE_URL = wanted["baseURL"]
client = imagekitio.ImageKit(
    private_key=wanted["privateKey"], public_key=wanted["publicKey"], url_endpoint=wanted["baseURL"] + "/files"
)
if wanted["do"] == "sign":
    said = {"answer": client.get_authentication_parameters(wanted["token"], wanted["expire"])}
else:
    options = UploadFileRequestOptions(folder="/from/python", tags=["summer", "dress"], response_fields=["tags"])
    content = base64.b64encode(base64.b64decode(wanted["content"]))
    try:
        result = client.upload_file(content, "stripes.png", options)
        said = {"answer": result.response_metadata.raw}
    except ForbiddenException as refused:
        said = {
            "status": refused.response_metadata.http_status_code,
            "message": refused.message,
            "help": refused.response_help,
        }
json.dump(said, sys.stdout)
