"""Plot: active notes and kept lessons over events, of every store, as PNG and SVG.

Needs matplotlib (the extra ``bench``). Equal points give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.sharpness.metrics import Point

_STYLE = {
    "runtime": ("#1b6ca8", "-", 2.4),
    "append": ("#c8553d", "--", 1.4),
    "cosine": ("#d9a441", "-.", 1.4),
    "oracle": ("#4f4f4f", ":", 1.8),
}
_RC: Any = {
    "svg.hashsalt": "sharpness",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(series: Mapping[str, Sequence[Point]], title: str, folder: Path) -> list[Path]:
    """Write ``sharpness-growth.png`` and ``.svg`` into ``folder``; returns their paths."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_RC):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
        _panel(left, series, "active", "active notes")
        left.set_yscale("log")
        _panel(right, series, "kept", "lessons kept")
        right.set_ylim(bottom=0)
        left.legend(frameon=False)
        figure.suptitle(title)
        paths = [folder / f"sharpness-growth.{kind}" for kind in ("png", "svg")]
        for path in paths:
            date = {"Software": None} if path.suffix == ".png" else {"Date": None}
            figure.savefig(path, dpi=150, metadata=date)
        plt.close(figure)
    return paths


def _panel(axes: Any, series: Mapping[str, Sequence[Point]], what: str, label: str) -> None:
    for name, points in series.items():
        color, line, width = _STYLE[name]
        axes.plot(
            [point.events for point in points],
            [getattr(point, what) for point in points],
            color=color,
            linestyle=line,
            linewidth=width,
            label=name,
        )
    axes.set_xlabel("events")
    axes.set_title(label, loc="left", fontsize=9)
    axes.xaxis.set_major_formatter("{x:,.0f}")
