"""The Vega templates in .dvc/plots, filled by DVC: on its own page and in the VS Code extension."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import vl_convert

from stages.evaluation.figures import curves, parity
from stages.evaluation.tables import make_tables
from stages.pipeline.history import EpochMetrics
from tests.charts import Chart, collect_charts, render
from tests.evaluation.test_metrics import LABELS, PROBABILITIES

CHARTS = {chart.name: chart for chart in collect_charts()}
COLUMNS = {"history": EpochMetrics._fields, "parity": parity.COLUMNS} | {
    name: table.columns for name, table in make_tables(PROBABILITIES, LABELS).items()
}
REVISIONS = {"workspace": "#123456", "HEAD": "#abcdef"}  # and the colors that the extension might give them


def renderer(chart: Chart, content: dict[str, list[dict[str, str]]] | None = None) -> Any:
    """What DVC makes of a chart, in each of two revisions, of these rows of its files, or of one row of ones."""
    rows = content or {file: [dict.fromkeys(COLUMNS[Path(file).stem], "1")] for file in chart.files}
    return render(chart, dict.fromkeys(REVISIONS, rows))


def draw(specification: dict[str, Any]) -> str:
    """The chart as SVG, drawn by a newer Vega-Lite than the one that the template names, as on the project's page."""
    return vl_convert.vegalite_to_svg({key: value for key, value in specification.items() if key != "$schema"})


def fill_as_the_extension_does(content: Any, anchors: dict[str, Any]) -> Any:
    """Replace strings that are an anchor as a whole (vscode-dvc, webview/src/plots/components/vegaLite/util.ts)."""
    match content:
        case dict():
            return {key: fill_as_the_extension_does(value, anchors) for key, value in content.items()}
        case list():
            return [fill_as_the_extension_does(value, anchors) for value in content]
        case str():
            return anchors.get(content, content)
    return content


def specification_in_the_extension(chart: Chart) -> dict[str, Any]:
    """With its own size, and its own color for each revision."""
    content, definitions = renderer(chart).get_partial_filled_template()
    size = 300 if "facet" in content else "container"
    color = {"field": "rev", "scale": {"domain": list(REVISIONS), "range": list(REVISIONS.values())}}
    anchors = {"COLOR": color, "PLOT_WIDTH": size, "PLOT_HEIGHT": size, "ZOOM_AND_PAN": {}}
    filled: dict[str, Any] = fill_as_the_extension_does(
        content, definitions["anchor_definitions"] | {f"<DVC_METRIC_{key}>": value for key, value in anchors.items()}
    )
    view = filled.get("spec", filled)
    assert (view["width"], view["height"]) == (size, size)
    return filled


def marks(drawing: str) -> list[str]:
    """The elements that stand for data."""
    return re.findall(r'<path aria-label="[^"]*"[^>]*>', drawing) + re.findall(
        r'<path [^>]*class="mark-line[^>]*>', drawing
    )


@pytest.mark.parametrize("name", CHARTS)
def test_dvc_fills_every_anchor_and_the_chart_is_drawn(name: str) -> None:
    properties = CHARTS[name].properties
    specification = renderer(CHARTS[name]).get_filled_template()
    assert "<DVC" not in json.dumps(specification)
    drawing = draw(specification)
    for text in (properties["title"], properties.get("x_label", properties["x"]), properties.get("y_label", "actual")):
        assert f">{text}</text>" in drawing
    assert all(revision in drawing for revision in REVISIONS)
    assert "NaN" not in drawing
    assert "undefined" not in drawing


@pytest.mark.parametrize("name", CHARTS)
def test_in_the_vs_code_extension_each_revision_has_its_color_and_engines_other_dashes_or_shapes(name: str) -> None:
    chart = CHARTS[name]
    drawing = draw(specification_in_the_extension(chart))
    assert "&lt;DVC" not in drawing
    assert f">{chart.properties['title']}</text>" in drawing
    assert all(revision in drawing for revision in REVISIONS)
    if chart.properties["template"] == "confusion":
        return  # whose colors are numbers: a matrix for each revision, under its name
    drawn = marks(drawing)
    for color in REVISIONS.values():
        own = [mark for mark in drawn if f'="{color}"' in mark]
        assert own, color
        if chart.properties["template"] == "classes" and len(chart.files) > 1:
            assert len({re.findall(r' d="(.+?)"', mark)[0] for mark in own if "symbol" in mark}) == len(chart.files)
    if chart.properties["template"] == "curves":
        dashes = re.findall(r'stroke-dasharray="(.*?)"', drawing)
        assert len(set(dashes)) == len(chart.files)
    assert set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]{6})"', "".join(drawn))) == set(REVISIONS.values())


def history(accuracies: list[float], losses: list[float]) -> list[dict[str, str]]:
    rows = zip(range(1, len(losses) + 1), [0.1] * len(losses), losses, accuracies, losses, accuracies, strict=True)
    return [dict(zip(EpochMetrics._fields, map(str, row), strict=True)) for row in rows]


def drawn_from(name: str, *contents: list[dict[str, str]]) -> str:
    chart = CHARTS[name]
    return draw(renderer(chart, dict(zip(chart.files, contents, strict=True))).get_filled_template())


@pytest.mark.parametrize("name", ["validation loss", "validation accuracy", "training loss", "training accuracy"])
def test_a_ring_marks_the_epoch_that_training_keeps(name: str) -> None:
    """Also where epochs have two digits, and the first of equals."""
    best_is_10 = history([0.5] * 9 + [0.9, 0.8], [0.1] * 11)
    lower_loss = history([0.9, 0.9, 0.9, 0.8], [0.3, 0.2, 0.2, 0.1])
    drawing = drawn_from(name, best_is_10, lower_loss)
    rings = re.findall(r'aria-label="epoch: (\d+)[^"]*"[^>]*stroke-width="1.5"', drawing)
    kept = [
        int(curves.kept_epoch(pd.DataFrame(rows).astype(float))["epoch"].iloc[0]) for rows in (best_is_10, lower_loss)
    ]
    assert [int(epoch) for epoch in rings] == kept * len(REVISIONS) == [10, 2] * len(REVISIONS)
    assert ">ring: the epoch whose weights are kept</text>" in drawing


def heights(drawing: str) -> list[float]:
    """The vertical position of each dot, from the top."""
    return [
        float(y) for y in re.findall(r'aria-label="epoch: [^"]*"[^>]*transform="translate\([\d.]+,([\d.]+)\)"', drawing)
    ]


@pytest.mark.parametrize("name", ["validation loss", "validation accuracy"])
def test_a_run_that_fails_leaves_the_others_apart(name: str) -> None:
    good = history([0.95, 0.97, 0.985], [0.2, 0.1, 0.05])
    drawing = drawn_from(name, good, history([0.1135] * 3, [2.3] * 3))
    first, second, third, *_ = heights(drawing)
    assert abs(first - third) > 60  # of 300 pixels
    assert abs(first - second) > 20
    assert ("98.5%" in drawing) == ("accuracy" in name)


def test_accuracy_of_100_percent_and_a_loss_of_0_are_drawn() -> None:
    for name in ("validation accuracy", "validation loss"):
        drawing = drawn_from(name, history([1.0], [0.0]), history([0.0], [3.0]))
        assert len(heights(drawing)) == 2 * 2 * len(REVISIONS)  # each with its ring
        assert all(0 <= height <= 300 for height in heights(drawing))


def classes(recalls: list[float]) -> list[dict[str, str]]:
    rows = [
        (label, 100, 0.9, recall, max(recall - 0.01, 0), min(recall + 0.01, 1), 0.9)
        for label, recall in enumerate(recalls)
    ]
    return [dict(zip(COLUMNS["classes"], map(str, row), strict=True)) for row in rows]


def test_a_class_without_images_is_left_out_and_a_class_that_is_far_off_is_named_at_the_edge() -> None:
    drawing = drawn_from("accuracy by class", classes([0.98, float("nan"), 0.97]), classes([0.99, 0.98, 0.1135]))
    assert "nan" not in drawing.lower().replace("dominant", "")
    points = re.findall(r'aria-roledescription="point"', drawing)
    assert len(points) == 4 * len(REVISIONS)
    assert drawing.count(">◀ 11.3%<") + drawing.count(">◀ 11.4%<") == len(REVISIONS)
    assert ">50%</text>" not in drawing


def test_confusions_have_the_same_colors_whatever_else_is_in_the_matrix() -> None:
    def colors(worst: int) -> dict[str, str]:
        counts = {("0", "0"): 990, ("0", "1"): 10, ("1", "0"): worst, ("1", "1"): 1000 - worst}
        cells = [{"actual": a, "predicted": p, "count": str(count)} for (a, p), count in counts.items()]
        drawing = drawn_from("plots/torch/confusion.csv", cells)
        found = re.findall(r'<path aria-label="predicted: (\d); actual: (\d)[^"]*" [^>]*?fill="(.*?)"', drawing)
        assert len(found) == 4 * len(REVISIONS)
        return {predicted + actual: color for predicted, actual, color in found}

    assert colors(5)["10"] == colors(900)["10"]  # ten images of class 0 are predicted as class 1
    assert colors(5)["01"] != colors(900)["01"]


def tick_labels(drawing: str, axis: str) -> list[str]:
    """What stands beside the axis, Vega's "X-axis" or "Y-axis"."""
    (labels,) = re.findall(rf'aria-label="{axis}.*?role-axis-label"[^>]*>(.*?)</g><g class="', drawing, re.DOTALL)
    return [label for label in re.findall(r">([^<>]+)</text>", labels) if label.strip()]


VALUES = {  # accuracies and losses of the two engines
    "one epoch": (([0.2333], [1.904]), ([0.37], [1.8])),
    "equal values": (([0.2333], [1.904]), ([0.2333], [1.904])),
    "a narrow range": (([0.23, 0.37], [1.95, 1.8]), ([0.29, 0.33], [1.94, 1.85])),
    "nearly equal values": (([0.97001, 0.97002], [0.1, 0.10001]), ([0.97, 0.97], [0.1, 0.1])),
    "all correct": (([1.0, 1.0], [0.0, 0.0]), ([1.0, 1.0], [0.0, 0.0])),
    "none correct": (([0.0], [9000.0]), ([0.0], [9000.0])),
    "a wide range": (([0.1135, 0.985], [2.3, 0.05]), ([0.95, 1.0], [0.2, 0.0])),
}


@pytest.mark.parametrize("case", VALUES)
@pytest.mark.parametrize("name", ["validation loss", "validation accuracy"])
def test_whatever_the_values_the_axis_names_two_heights_or_more_and_each_only_once(name: str, case: str) -> None:
    drawing = drawn_from(name, *(history(*engine) for engine in VALUES[case]))
    labels = tick_labels(drawing, "Y-axis")
    assert len(set(labels)) == len(labels) >= 2
    assert all(0 <= height <= 300 for height in heights(drawing))
    numbers = [float(re.sub("[≤≥% ]", "", label)) for label in labels]
    assert numbers == sorted(numbers)
    values = [value for accuracies, losses in VALUES[case] for value in (losses if "loss" in name else accuracies)]
    if case != "a wide range":  # no label that is far from what is drawn
        scale = 1 if "loss" in name else 100
        assert min(numbers) <= max(max(values) * scale, 1e-6)
        assert all(abs(number - values[0] * scale) < max(0.3 * scale, values[0] * scale / 2) for number in numbers)


def test_the_only_value_of_a_chart_stands_between_its_neighbors() -> None:
    for name, expected in (("validation loss", {"1.8", "1.9", "2"}), ("validation accuracy", {"20%", "25%"})):
        file = CHARTS[name].files[0]
        properties = CHARTS[name].properties
        alone = Chart(name, [file], properties | {"y": {file: properties["y"][file]}})
        drawing = draw(renderer(alone, {file: history([0.2333], [1.904])}).get_filled_template())
        assert expected <= set(tick_labels(drawing, "Y-axis"))
        assert "99.99%" not in tick_labels(drawing, "Y-axis")


@pytest.mark.parametrize("name", ["validation loss", "validation accuracy"])
def test_points_of_one_epoch_have_the_shape_of_their_engine(name: str) -> None:
    drawing = drawn_from(name, history([0.2], [1.9]), history([0.3], [1.8]))
    dots = [mark for mark in marks(drawing) if 'description="point"' in mark]
    shapes = {
        engine: {re.findall(r' d="(.+?)"', dot)[0] for dot in dots if f"filename: {engine}/" in dot}
        for engine in ("torch", "scratch")
    }
    assert [len(shape) for shape in shapes.values()] == [1, 1]
    assert shapes["torch"] != shapes["scratch"]


def test_intervals_are_drawn_where_every_class_is_at_100_percent() -> None:
    rows = [row | {"recall_low": "0.8668", "recall_high": "1.0"} for row in classes([1.0] * 10)]
    drawing = drawn_from("accuracy by class", rows, rows)
    assert {"88%", "90%", "100%"} <= set(tick_labels(drawing, "X-axis"))
    lines = re.findall(r'<line aria-label="[^>]* x2="(-?[\d.]+)"', drawing)
    assert len(lines) == 2 * 10 * len(REVISIONS)
    assert min(abs(float(length)) for length in lines) > 200  # of 300 pixels
