"""The chart of ``tools/bench.py``: every row of every table as a bar, and figures as shares of what was promised."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["chart"]

ROW, LEFT, WIDTH = 16, 420, 460
OURS, OTHERS, MISSED = "#2563eb", "#9ca3af", "#dc2626"
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Line:
    """One line of the chart; a title has no value."""

    label: str
    value: float | None = None
    text: str = ""
    colour: str = OTHERS


def share(figure: dict) -> float | None:
    """Return a figure as a share of its bar, ``None`` where that cannot be told; at most 1 when it holds."""
    value, bar = NUMBER.search(figure["value"]), NUMBER.search(figure["bar"])
    if value is None or bar is None or not float(bar[0]) or not float(value[0]):
        return None
    found = float(value[0]) / float(bar[0])
    return 1 / found if figure["bar"].lstrip().startswith((">", "≥")) else found


def lines(measured: dict[str, list[dict]]) -> Iterator[Line]:
    """Yield the lines of the chart."""
    for name, tables in measured.items():
        for table in tables:
            shares = [(figure, share(figure)) for figure in table["figures"]]
            shares = [] if table["rows"] else [pair for pair in shares if pair[1] is not None]
            if table["rows"] or shares:
                yield Line(
                    f"{name}: {table['title']}" + (" (shares of the bars)" if shares else "")
                )
            limits = {
                bar["subject"]: bar["limit"] for bar in table["bars"] if bar["figure"] == "wall"
            }
            failing = {
                figure["what"].partition(" / ")[0]
                for figure in table["figures"]
                if not figure["holds"]
            }
            for row in table["rows"]:
                ours = row["name"] in limits or row["name"].startswith("ours")
                missed = row["name"] in failing or row["wall"] > limits.get(row["name"], math.inf)
                colour = MISSED if missed else OURS if ours else OTHERS
                yield Line(row["name"], row["wall"], f"{row['wall']:.2f}", colour)
            for figure, value in shares:
                text = f"{figure['value']} ({figure['bar']})"
                yield Line(figure["what"], value, text, OURS if figure["holds"] else MISSED)


def chart(measured: dict[str, list[dict]]) -> str:
    """Return an SVG with the bars on a logarithmic scale: blue what is promised, red what missed, grey the others."""
    shown = list(lines(measured))
    values = [line.value for line in shown if line.value]
    low = math.log10(min([0.1, *values]))
    span = (math.log10(max([10.0, *values])) - low) or 1.0
    parts = []
    for index, line in enumerate(shown):
        y = ROW * (index + 1)
        weight = ' font-weight="bold"' if line.value is None else ""
        x = 8 if line.value is None else 24
        parts.append(f'<text x="{x}" y="{y}"{weight}>{html.escape(line.label)}</text>')
        if line.value:
            width = max(1.0, (math.log10(line.value) - low) / span * WIDTH)
            parts.append(
                f'<rect x="{LEFT}" y="{y - 10}" width="{width:.1f}" height="11" fill="{line.colour}"/>'
            )
            text = html.escape(line.text)
            parts.append(f'<text x="{LEFT + width + 5:.1f}" y="{y}">{text}</text>')
    height = ROW * (len(shown) + 2)
    one = LEFT + -low / span * WIDTH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 190}" height="{height}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f'{"".join(parts)}<line x1="{one:.1f}" x2="{one:.1f}" y1="4" y2="{height - 8}" stroke="#555" '
        'stroke-dasharray="2 3"/></svg>\n'
    )
