"""Readers of multipart/form-data side by side: a form with a file of 20 MB.

    python -m benchmarks.parsers

Ours reads into its buffer of up to 512 KiB; the others are given pieces of 64 KiB. It needs `pip install multipart
python-multipart` in any environment on PYTHONPATH; what is not there is left out. Each reads two files, random bytes
and line breaks alone, for a parser that looks at every line end is slow on the second.
"""

from __future__ import annotations

import importlib
import io
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from werkzeug.sansio.multipart import Data, Epilogue, MultipartDecoder, NeedData

from tokensvc.web.parts import read_parts

_BYTES = 20 * 1000 * 1000
_PIECE = 64 * 1024
_ROUNDS = 5
_BOUNDARY = b"------------------------benchmark"

Reader = Callable[[bytes], int]
"""Reads a whole body, and returns how many bytes of content it found."""


def ours(body: bytes) -> int:
    """The service's own."""
    parts = read_parts(io.BytesIO(body), _BOUNDARY, max_header_bytes=8192)
    return sum(len(piece) for _, content in parts for piece in content)


def werkzeugs(body: bytes) -> int:
    """What Flask would use."""
    decoder, stream, found = MultipartDecoder(_BOUNDARY), io.BytesIO(body), 0
    while True:
        piece = stream.read(_PIECE)
        decoder.receive_data(piece or None)
        while True:
            event = decoder.next_event()
            if isinstance(event, Data):
                found += len(event.data)
            if isinstance(event, Epilogue):
                return found
            if isinstance(event, NeedData):
                break


def of_multipart(body: bytes) -> int:
    """PyPI's `multipart`, which Bottle's author wrote."""
    module: Any = importlib.import_module("multipart")
    stream, found = io.BytesIO(body), 0
    with module.PushMultipartParser(_BOUNDARY) as parser:
        while not parser.closed:
            events = parser.parse(stream.read(_PIECE))
            found += sum(len(event) for event in events if isinstance(event, bytearray | bytes))
    return found


def of_python_multipart(body: bytes) -> int:
    """PyPI's `python-multipart`, which Starlette uses."""
    module: Any = importlib.import_module("python_multipart.multipart")
    sizes: list[int] = []
    callbacks = {"on_part_data": lambda _data, start, end: sizes.append(end - start)}
    parser = module.MultipartParser(_BOUNDARY, callbacks)
    stream = io.BytesIO(body)
    while piece := stream.read(_PIECE):
        parser.write(piece)
    parser.finalize()
    return sum(sizes)


def form(file: bytes) -> bytes:
    """A form with two texts and this file."""
    opening = b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
    texts = b"".join(opening % (_BOUNDARY, name, b"a text") for name in (b"fileName", b"token"))
    head = b'--%b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n' % _BOUNDARY
    return texts + head + file + b"\r\n--%b--\r\n" % _BOUNDARY


def main() -> None:
    """Measure, and print a table."""
    bodies = {"random": form(os.urandom(_BYTES)), "line breaks": form(b"\r\n" * (_BYTES // 2))}
    readers: dict[str, Reader] = {
        "ours": ours,
        "werkzeug": werkzeugs,
        "multipart": of_multipart,
        "python-multipart": of_python_multipart,
    }
    seen: dict[tuple[str, str], list[float]] = {}
    for _ in range(_ROUNDS):
        for name, read in readers.items():
            for kind, body in bodies.items():
                try:
                    began = time.process_time()
                    found = read(body)
                    took = time.process_time() - began
                except ModuleNotFoundError:
                    continue
                if found < _BYTES:
                    raise SystemExit(f"{name} found {found} bytes of {kind}")
                seen.setdefault((name, kind), []).append(took)
    print("| | ms of CPU for 20 MB at random | of line breaks |", "|---|---:|---:|", sep="\n")
    for name in readers:
        cells = [f"{statistics.median(seen[name, kind]) * 1000:,.0f}" for kind in bodies if (name, kind) in seen]
        print(f"| {name} | {' | '.join(cells) or 'not here |'} |")


if __name__ == "__main__":
    main()
