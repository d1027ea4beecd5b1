"""Starlette and ImageKit's SDK: no caller is known, and nothing is recorded."""

from __future__ import annotations

import os

from imagekitio import ImageKit
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

imagekit = ImageKit(private_key=os.environ["PRIVATE_KEY"])


async def auth(_request: Request) -> JSONResponse:
    parameters = imagekit.helper.get_authentication_parameters()
    return JSONResponse({**parameters, "publicKey": os.environ["PUBLIC_KEY"]})


app = Starlette(routes=[Route("/auth", auth)])
