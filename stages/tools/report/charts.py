"""Vega-Lite charts: the anchors that DVC leaves open for the VS Code extension, filled for the page."""

import json
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import PurePosixPath
from typing import Any

from stages.evaluation.figures.style import FURTHER_COLORS, engine_colors

Row = dict[str, Any]
DATA, COLOR, WIDTH, HEIGHT, STROKE_DASH, SHAPE = (
    f"<DVC_METRIC_{name}>" for name in ("DATA", "COLOR", "PLOT_WIDTH", "PLOT_HEIGHT", "STROKE_DASH", "SHAPE")
)
PER_ENGINE: dict[str, list[Any]] = {  # with the colors of revisions: the first two are easy to tell apart
    STROKE_DASH: [[1, 0], [6, 4], [2, 3], [12, 3, 2, 3]],
    SHAPE: ["circle", "diamond", "square", "triangle-up"],
}
REVISION_COLORS = ("#000000", *FURTHER_COLORS[:-1])  # the workspace, and others


def make_charts(name: str, plot: Mapping[str, Any], revisions: Sequence[str]) -> list[dict[str, Any]]:
    """The Vega-Lite specifications of one of DVC's plots: one, or of a faceted plot one for each revision.

    Revisions with equal data are shown once, under all their names. One revision has the colors of the engines, as the
    figures have; several have colors of their own, and dashes and shapes tell the engines apart.
    """
    anchors = dict(plot["anchor_definitions"])
    content = plot["content"]
    rows = merge_equal_revisions(label_engines(name, anchors[DATA]), revisions, json.dumps(content))
    shown = list(dict.fromkeys(row["rev"] for row in rows))
    if "facet" in content:
        return [fill(content, anchors | {DATA: [row for row in rows if row["rev"] == label]}) for label in shown]
    engines = list(dict.fromkeys(row["filename"] for row in rows if "filename" in row))
    anchors |= {DATA: rows, WIDTH: "container"} | encodings(anchors, engines, shown, revisions)
    if "yOffset" in json.dumps(content):
        anchors[HEIGHT] = max(150, 12 * len(rows))  # a line for each row
    return [fill(content, anchors)]


def label_engines(name: str, rows: Sequence[Row]) -> list[Row]:
    """The rows with the engine as ``filename``: of the file that DVC names there, or of the plot's own file."""
    labeled = []
    for row in rows:
        parts = PurePosixPath(row.get("filename", name)).parts
        labeled.append(row | {"filename": parts[-2]} if len(parts) > 1 else dict(row))
    return labeled


def merge_equal_revisions(rows: Sequence[Row], revisions: Sequence[str], content: str) -> list[Row]:
    """The rows in the order of the revisions; where several give the same chart, one's rows under the names of all.

    Only the columns that the chart's ``content`` names count.
    """
    groups: dict[str, list[str]] = {}
    own = {revision: [row for row in rows if row["rev"] == revision] for revision in revisions}
    for revision, its in own.items():
        plotted = [{key: value for key, value in row.items() if key in content and key != "rev"} for row in its]
        if plotted:
            groups.setdefault(json.dumps(plotted), []).append(revision)
    return [row | {"rev": ", ".join(names)} for names in groups.values() for row in own[names[0]]]


def encodings(
    anchors: Mapping[str, Any], engines: Sequence[str], shown: Sequence[str], revisions: Sequence[str]
) -> dict[str, Any]:
    """Color by engine where one revision is shown, otherwise by revision, with dash and shape by engine."""
    by_engine = [anchor for anchor in PER_ENGINE if anchor in anchors]
    if len(shown) > 1:
        colors = revision_colors(revisions)
        last = [max(filter(label.endswith, revisions), key=len) for label in shown]
        color = scale("rev", shown, [colors[revision] for revision in last])
        if len(engines) > 1:
            return {COLOR: color} | {anchor: scale("filename", engines, PER_ENGINE[anchor]) for anchor in by_engine}
    elif len(engines) > 1:
        color = scale("filename", engines, [engine_colors(engines)[engine] for engine in engines])
    else:
        color = {"value": engine_colors(engines)[engines[0]] if engines else REVISION_COLORS[0]}
    return {COLOR: color} | {anchor: {"value": PER_ENGINE[anchor][0]} for anchor in by_engine}


def revision_colors(revisions: Sequence[str]) -> dict[str, str]:
    """A color for each revision, black for the workspace, which is the last; none is that of torch or scratch."""
    return dict(zip(reversed(revisions), cycle(REVISION_COLORS), strict=False))


def scale(field: str, domain: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """An encoding of a field whose values are given for each of its domain, repeated if there are too few."""
    chosen = [value for value, _ in zip(cycle(values), domain, strict=False)]
    legend: dict[str, Any] = {"columns": 2 if max(map(len, domain)) < 20 else 1}
    if values in PER_ENGINE.values():
        legend |= {"symbolFillColor": "lightgray", "symbolStrokeColor": "black", "symbolSize": 200}
    return {"field": field, "title": None, "scale": {"domain": list(domain), "range": chosen}, "legend": legend}


def fill(content: Any, anchors: Mapping[str, Any]) -> Any:
    """Replace every string that is an anchor as a whole, as the extension does."""
    match content:
        case dict():
            return {key: fill(value, anchors) for key, value in content.items()}
        case list():
            return [fill(value, anchors) for value in content]
        case str():
            return anchors.get(content, content)
    return content
