"""The results as one SVG picture: a bar for each case, CPU of server and store, with a whisker from least to most."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from .rounds import Figures

_ROW, _LEFT, _WIDTH, _TOP = 26, 330, 560, 60
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.title{font-size:16px;font-weight:600}"
    ".small{fill:#666;font-size:12px}.server{fill:#4c78a8}.store{fill:#f2a33a}.peer{fill:#a9b8c9}.whisker{stroke:#222;stroke-width:1}"
)


def bars(title: str, seen: Mapping[str, Figures], ours: frozenset[str]) -> str:
    """The picture; `ours` are the names of the cases that are the service's."""
    most = max(figures.spread[1] for figures in seen.values())
    scale = _WIDTH / most
    rows = [_row(place, figures, scale, name in ours) for place, (name, figures) in enumerate(seen.items())]
    height = _TOP + _ROW * len(seen) + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 90} {height}">'
        f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
        f'<text class="title" x="12" y="24">{escape(title)}</text>'
        '<text class="small" x="12" y="44">CPU µs a request; blue: the service, orange: its store, grey: peers</text>'
        f"{''.join(rows)}</svg>\n"
    )


def _row(place: int, figures: Figures, scale: float, ours: bool) -> str:
    y = _TOP + place * _ROW
    server, store = (figures.median(lambda each: each.server_us), figures.median(lambda each: each.store_us))
    low, high = (_LEFT + bound * scale for bound in figures.spread)
    middle = y + _ROW / 2 - 3
    kind = "server" if ours else "peer"
    return (
        f'<text x="{_LEFT - 10}" y="{y + 15}" text-anchor="end">{escape(figures.label)}</text>'
        f'<rect class="{kind}" x="{_LEFT}" y="{y + 2}" width="{server * scale:.1f}" height="17"/>'
        f'<rect class="store" x="{_LEFT + server * scale:.1f}" y="{y + 2}" width="{store * scale:.1f}" height="17"/>'
        f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>'
        f'<text class="small" x="{max(high, _LEFT + (server + store) * scale) + 6:.1f}" y="{y + 15}">'
        f"{figures.cpu_us:,.0f}</text>"
    )
