"""Every client, in the order of the page: exact versions, and what an import in its page means."""

from __future__ import annotations

from typing import Final

from .in_browser import PageClient
from .on_server import ServerClient
from .replayed import REPLAYS, Replay

Named = PageClient | ServerClient | Replay

_NO_COMPONENT: Final = {"next/image": "./clients/nothing.js", "next/script": "./clients/nothing.js"}


def _javascript(version: str) -> PageClient:
    package = f"imagekit-javascript-{version}"
    first = version.startswith("1.")
    # The first releases are made for Node's `url` and `path`; what they ship for browsers is in dist.
    imported = f"{package}/dist/imagekit.js" if version < "1.3" else package
    entry = "javascript-1.js" if first else "javascript-2.js"
    return PageClient("imagekit-javascript", version, entry, package, {"imagekit-javascript": imported}, first)


def _newest(package: str, version: str, client: str = "") -> PageClient:
    return PageClient(client or package, version, "javascript-5.js", package, {"sdk": package} | _NO_COMPONENT)


def _react(version: str) -> PageClient:
    package = f"imagekitio-react-{version}"
    return PageClient("imagekitio-react", version, "react.js", package, {"imagekitio-react": package}, version < "3")


def _vue(version: str) -> PageClient:
    package = f"imagekitio-vue-{version}"
    imports = {"imagekitio-vue": package}
    if version < "2":
        return PageClient("imagekitio-vue", version, "vue-2.js", package, imports | {"vue": "vue-2"}, True)
    return PageClient("imagekitio-vue", version, "vue-3.js", package, imports)


_JAVASCRIPT: Final = (
    "1.0.1 1.0.4 1.1.1 1.2.0 1.2.3 1.3.0 1.3.4 1.3.5 1.3.6 1.3.7 1.4.0 1.4.1 1.4.2 1.4.3 1.5.1 1.5.2 1.5.3 1.5.4 1.5.5 "
    "2.0.0 3.0.0 3.0.1 3.0.2 3.1.0 4.0.1"
)

PAGES: Final = (
    *map(_javascript, _JAVASCRIPT.split()),
    _newest("@imagekit/javascript", "5.5.1"),
    _newest("@imagekit/react", "5.0.3"),
    _newest("@imagekit/next", "2.1.5", "@imagekit/next, client"),
    _newest("@imagekit/vue", "4.0.1"),
    *map(_react, ["1.0.11", "1.1.1", "2.0.0", "3.0.0", "4.0.0", "4.1.0", "4.2.0", "4.3.0"]),
    *map(_vue, ["1.0.8", "1.0.9", "3.1.0"]),
    PageClient("imagekit-uppy-plugin", "1.0.2", "uppy.js", "imagekit-uppy-plugin", sdk_asks=True),
    PageClient("the documented v1 page", "–", "documented-v1.js", ""),
    PageClient("the documented v2 page with jQuery", "3.7.1", "documented-v2.js", "jquery", api="v2"),
)

SERVERS: Final = (
    ServerClient("imagekit, Node", "6.0.0", "node", "imagekit", ("v1",)),
    ServerClient("@imagekit/nodejs", "7.11.0", "node", "@imagekit/nodejs", ("v1", "v2")),
    ServerClient("@imagekit/next, server", "2.1.5", "node", "@imagekit/next", ()),
    ServerClient("imagekitio, Python", "4.2.0", "python-4", "imagekitio", ("v1",)),
    ServerClient("imagekitio, Python", "5.11.0", "python", "imagekitio", ("v1", "v2")),
)

EVERY: Final[tuple[Named, ...]] = (*PAGES, *SERVERS, *REPLAYS)

NOT_RUN: Final = (
    (
        "imagekitio-react 1.0.3 to 1.0.10, imagekitio-vue 1.0.5",
        "Their packages install a whole build chain. Later releases of the same lines are run.",
    ),
    (
        "imagekitio-angular, @imagekit/angular",
        "Angular's compiler would be a build of its own. What differs, two requests for one upload, is replayed.",
    ),
    ("imagekit-uppy-plugin 1.0.3 to 2.0.0", "Never released as packages. They add `t` to the request of 1.0.2."),
    (
        "`v2-alpha` of imagekit-javascript and imagekit-uppy-plugin",
        "Never released as packages.",
    ),
    ("Android, iOS and Dart", "Their toolchains cannot be installed where the tests run. Their requests are replayed."),
    (
        "Ruby, PHP, Go, Java and .NET",
        "No toolchain for them where the tests run. They are servers: their published signatures are test vectors.",
    ),
    ("React Native", "No device. It uploads with imagekit-javascript, and fetches with the documented `fetch`."),
)
"""Clients without a row, or whose row is a replay, and why."""
