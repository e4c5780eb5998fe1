"""The Vega templates in .dvc/plots, filled by DVC: on its own page and in the VS Code extension."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import vl_convert
from dvc.render.match import match_defs_renderers

from stages.evaluation.figures import curves, parity
from stages.evaluation.figures.style import engine_colors
from stages.evaluation.metrics import confusion_matrix
from stages.evaluation.tables import make_tables
from tests.charts import Chart, collect_charts
from tests.evaluation.test_metrics import LABELS, PREDICTED
from tests.imports import ROOT

CHARTS = {chart.name: chart for chart in collect_charts()}
COLUMNS = {"history": curves.COLUMNS, "parity": parity.COLUMNS} | {
    name: table.columns for name, table in make_tables(confusion_matrix(PREDICTED, LABELS)).items()
}
REVISIONS = {"workspace": "#123456", "HEAD": "#abcdef"}  # and the colors that the extension might give them
MANY = ("zeta", "scratch", "abacus", "torch", *(f"engine{number}" for number in range(5)))


def renderer(chart: Chart) -> Any:
    """What DVC makes of a chart whose files have one row in each of two revisions."""
    rows = {file: [dict.fromkeys(COLUMNS[Path(file).stem], "1")] for file in chart.files}
    data = {
        revision: {
            "definitions": {"data": {"dvc.yaml": {"data": {chart.name: chart.properties}}}},
            "sources": {"data": {file: {"data": {"": content}} for file, content in rows.items()}},
        }
        for revision in REVISIONS
    }
    (found,) = match_defs_renderers(data, templates_dir=str(ROOT / ".dvc/plots"))
    assert not found.definition_errors
    return found.renderer


def draw(specification: dict[str, Any]) -> str:
    """The chart as SVG, drawn by a newer Vega-Lite than the one that the template names, as in tools/report.py."""
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
    if properties["template"] == "curves":
        assert drawing.count('stroke-dasharray="8,4"') > len(CHARTS[name].files)  # HEAD's lines, and the legend's


@pytest.mark.parametrize("name", CHARTS)
def test_the_vs_code_extension_fits_the_chart_and_keeps_revisions_apart(name: str) -> None:
    content, definitions = renderer(CHARTS[name]).get_partial_filled_template()
    size = 300 if "facet" in content else "container"
    color = {"field": "rev", "scale": {"domain": list(REVISIONS), "range": list(REVISIONS.values())}}
    anchors = {"COLOR": color, "PLOT_WIDTH": size, "PLOT_HEIGHT": size, "ZOOM_AND_PAN": {}}
    specification = fill_as_the_extension_does(
        content, definitions["anchor_definitions"] | {f"<DVC_METRIC_{key}>": value for key, value in anchors.items()}
    )
    view = specification.get("spec", specification)
    assert (view["width"], view["height"]) == (size, size)
    drawing = draw(specification)
    assert "&lt;DVC" not in drawing
    assert f">{CHARTS[name].properties['title']}</text>" in drawing
    assert all(revision in drawing for revision in REVISIONS)
    if CHARTS[name].properties["template"] == "confusions":
        assert all(f'fill="{color}"' in drawing for color in REVISIONS.values())


@pytest.mark.parametrize("engines", [("torch",), ("scratch",), ("torch", "scratch"), MANY], ids=len)
@pytest.mark.parametrize("name", ["validation loss", "accuracy by class"])
def test_combined_charts_have_the_colors_of_the_figures(name: str, engines: tuple[str, ...]) -> None:
    _, files, properties = CHARTS[name]
    (field,) = set(properties["y"].values())
    y = {f"plots/{engine}/{Path(files[0]).name}": field for engine in engines}
    title = properties["title"] if len(engines) > 1 else f"Of {engines[0]}"  # a single file's engine is in the title
    drawing = draw(renderer(Chart(name, list(y), properties | {"y": y, "title": title})).get_filled_template())
    assert drawn_colors(drawing) == {engine: engine_colors(engines)[engine] for engine in engines}
    legend = re.findall(r">(torch|scratch|zeta|abacus|engine\d)</text>", drawing)
    assert legend == ["torch", "scratch", *sorted(set(engines) - {"torch", "scratch"})]


@pytest.mark.parametrize("engine", ["torch", "scratch"])
@pytest.mark.parametrize("file", ["history", "classes"])
def test_charts_of_one_engine_have_its_color(file: str, engine: str) -> None:
    drawing = draw(renderer(CHARTS[f"plots/{engine}/{file}.csv"]).get_filled_template())
    assert drawn_colors(drawing) == {engine: engine_colors([engine])[engine]}


def drawn_colors(drawing: str) -> dict[str, str]:
    found = re.findall(r'aria-label="[^"]*place: \d (\w+)[^"]*"[^>]*(?:fill|stroke)="(#\w+)"', drawing)
    return {engine: color.upper() for engine, color in found}
