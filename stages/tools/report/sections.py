"""The sections of the page: each result once, with a heading, and a text for those who do not see the figure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stages.tools.report.charts import make_charts

Plots = Mapping[str, list[dict[str, Any]]]
# Each result once: what combined charts or other figures show is left out. Other plots, such as your own, come last.
SECTIONS = {
    "Learning curves": ("validation *", "training *", "plots/*/history.csv"),
    "Accuracy by class, and confusions": (
        *("accuracy by class", "plots/*/confusion.csv", "plots/*/confusions.csv", "plots/*/mistakes.csv"),
    ),
    "Figures": ("plots/images/*.png",),
    "Further plots": ("*",),
}
LEFT_OUT = ("plots/images/curves.png", "plots/*/classes.csv", "plots/parity.csv")
FIGURES = {  # what is to be seen
    "mistakes": "Test images that each engine misclassifies with the most confidence, with their label, and every "
    "engine's prediction and confidence",
    "parity": "The training losses of both engines by step lie on each other; below, their relative difference is "
    "about the machine epsilon, in float32 and in float64",
    "reliability": "Reliability diagram of each engine: accuracy against confidence with 95 % intervals, beside the "
    "diagonal of perfect calibration",
    "weights": "The first layer's weights of each engine, an image for each unit, blue below zero and red above",
}


def make_sections(plots: Plots, revisions: Sequence[str], folder: Path) -> Iterator[str]:
    """Each section that has plots, with all its charts, then its images."""
    rest = {name: plot for name, plot in plots.items() if not any(fnmatch(name, pattern) for pattern in LEFT_OUT)}
    for title, patterns in SECTIONS.items():
        own = [name for pattern in patterns for name in rest if fnmatch(name, pattern)]
        charts: list[str] = []
        images: list[str] = []
        for name in dict.fromkeys(own):
            items = rest.pop(name)
            charts += [
                _chart(chart)
                for plot in items
                if plot["type"] == "vega"
                for chart in make_charts(name, plot, revisions)
            ]
            shown = [item for item in items if item["type"] == "image"]
            images += [_images(name, shown, revisions, folder)] if shown else []
        if charts or images:
            grid = f'<div class="charts">{"".join(charts)}</div>' if charts else ""
            yield f"<section>\n<h2>{title}</h2>\n{grid}{''.join(images)}\n</section>"


def _chart(chart: Mapping[str, Any]) -> str:
    specification = json.dumps(chart).replace("<", "\\u003c")
    return (
        '<div class="chart"></div>'
        f"<script>draw(document.currentScript.previousElementSibling, {specification})</script>\n"
    )


def _images(name: str, items: Sequence[Mapping[str, Any]], revisions: Sequence[str], folder: Path) -> str:
    """One figure; revisions with the same image share it."""
    stem = Path(name).stem
    paths = {item["revisions"][0]: Path(item["url"]) for item in items}
    same: dict[bytes, list[str]] = {}
    for revision in revisions:
        if revision in paths:
            same.setdefault(paths[revision].read_bytes(), []).append(revision)
    figures = []
    for labels in same.values():
        source = quote(paths[labels[0]].relative_to(folder.absolute()).as_posix())
        texts = [] if stem in FIGURES else [name]
        texts += [", ".join(labels)] if len(revisions) > 1 else []
        caption = f"<figcaption>{escape(': '.join(texts))}</figcaption>" if texts else ""
        figures.append(f'<figure>{caption}<img src="{source}" alt="{escape(FIGURES.get(stem, stem))}"></figure>\n')
    return f'<div class="images">{"".join(figures)}</div>\n'
