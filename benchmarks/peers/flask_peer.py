"""Flask and ImageKit's SDK, as its documentation has it: no caller is known, and nothing is recorded."""

from __future__ import annotations

import os

from flask import Flask, Response, jsonify
from imagekitio import ImageKit

imagekit = ImageKit(private_key=os.environ["PRIVATE_KEY"])
app = Flask(__name__)


@app.get("/auth")
def auth() -> Response:
    parameters = imagekit.helper.get_authentication_parameters()
    return jsonify({**parameters, "publicKey": os.environ["PUBLIC_KEY"]})
