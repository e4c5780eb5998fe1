"""The charts of the project's page: what it makes of the plots that DVC gives it, in any number of revisions."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import vl_convert

from stages.evaluation.figures.style import ENGINE_COLORS, engine_colors
from stages.pipeline.history import EpochMetrics
from stages.tools.report.charts import make_charts, revision_colors
from tests.charts import Chart, collect_charts, render

CHARTS = {chart.name: chart for chart in collect_charts()}
MANY = ("zeta", "scratch", "abacus", "torch", *(f"engine{number}" for number in range(5)))
CLASSES = ("class", "recall", "recall_low", "recall_high", "f1")
HOSTILE = "</script>, 'quoted' \\ and \"twice\""


def rows(file: str, value: float) -> list[dict[str, str]]:
    """Two rows of a file; ``value`` is what distinguishes revisions."""
    if file.endswith("confusion.csv"):
        return [{"actual": "0", "predicted": "1", "count": str(value)}, {"actual": "1", "predicted": "1", "count": "7"}]
    columns = EpochMetrics._fields if file.endswith("history.csv") else CLASSES
    return [{**dict.fromkeys(columns, str(value)), columns[0]: str(row)} for row in (1, 2)]


def charts_of(chart: Chart, revisions: dict[str, float]) -> list[str]:
    """The page's charts, as SVG, of a plot in these revisions, each with its own value."""
    contents = {name: {file: rows(file, value) for file in chart.files} for name, value in revisions.items()}
    content, definitions = render(chart, contents).get_partial_filled_template()
    made = make_charts(chart.name, {"content": content, **definitions}, list(revisions))
    assert "<DVC" not in json.dumps(made)
    return [vl_convert.vegalite_to_svg({**each, "$schema": None, "width": 300}) for each in map(without_schema, made)]


def without_schema(chart: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in chart.items() if key != "$schema"}


def of_engines(name: str, engines: Sequence[str]) -> Chart:
    _, files, properties = CHARTS[name]
    (field,) = set(properties["y"].values())
    y = {f"plots/{engine}/{Path(files[0]).name}": field for engine in engines}
    return Chart(name, list(y), properties | {"y": y})


def drawn_colors(drawing: str, label: str) -> dict[str, str]:
    found = re.findall(rf'aria-label="[^"]*\b{label}: ([^";]+)[^"]*"[^>]*(?:fill|stroke)="(#\w+)"', drawing)
    return {name: color.upper() for name, color in found}


@pytest.mark.parametrize("engines", [("scratch", "torch"), ("torch", "softmax"), MANY], ids=len)
@pytest.mark.parametrize("name", ["validation loss", "accuracy by class"])
def test_one_revision_has_the_colors_of_the_figures(name: str, engines: tuple[str, ...]) -> None:
    (drawing,) = charts_of(of_engines(name, engines), {"workspace": 0.5})
    assert drawn_colors(drawing, "filename") == {engine: engine_colors(engines)[engine] for engine in engines}
    assert re.findall(r">([a-z]+\d?)</text>", drawing)[-len(engines) :] == list(engines)  # the legend
    assert "workspace" not in re.sub('aria-label="[^"]*"', "", drawing)


@pytest.mark.parametrize("name", ["plots/torch/history.csv", "plots/scratch/history.csv"])
def test_the_chart_of_one_engine_has_its_color(name: str) -> None:
    (drawing,) = charts_of(CHARTS[name], {"workspace": 0.5})
    assert f'stroke="{ENGINE_COLORS[Path(name).parent.name]}"' in drawing


@pytest.mark.parametrize("name", ["validation loss", "accuracy by class"])
def test_several_revisions_have_colors_of_their_own_and_the_legend_tells_engines_by_dash_or_shape(name: str) -> None:
    revisions = {"HEAD~1": 0.3, "grid-1": 0.4, HOSTILE: 0.5, "workspace": 0.6}
    (drawing,) = charts_of(of_engines(name, ("torch", "scratch", "softmax")), revisions)
    colors = {color.upper() for color in revision_colors(list(revisions)).values()}
    assert len(colors) == len(revisions)
    assert not colors & set(ENGINE_COLORS.values())
    assert set(drawn_colors(drawing, "rev").values()) == colors
    legend = re.sub('aria-label="[^"]*"', "", drawing)
    assert all(
        f">{label}</text>" in legend for label in ("HEAD~1", "grid-1", "workspace", "torch", "scratch", "softmax")
    )
    kinds = re.findall(
        r'stroke-dasharray="(.*?)"' if "loss" in name else r'description="point" [^>]*d="(.*?)"', drawing
    )
    assert len(set(kinds)) == 3


@pytest.mark.parametrize("name", ["validation loss", "accuracy by class", "plots/torch/confusion.csv"])
def test_equal_revisions_are_shown_once_under_all_their_names(name: str) -> None:
    alone = charts_of(CHARTS[name], {"workspace": 0.5})
    equal = charts_of(CHARTS[name], {"HEAD": 0.5, "grid-1": 0.5, "workspace": 0.5})
    assert [each.count("<path") for each in equal] == [each.count("<path") for each in alone]
    some = charts_of(CHARTS[name], {"HEAD": 0.5, "grid-1": 0.4, "workspace": 0.5})
    assert sum(each.count(">HEAD, workspace</text>") for each in some) == 1
    assert sum(each.count(">grid-1</text>") for each in some) == 1
    assert len(some) == (2 if "confusion" in name else 1)


def test_what_a_chart_does_not_show_makes_no_difference_to_it() -> None:
    chart = CHARTS["plots/torch/history.csv"]  # the learning rate
    contents = {
        revision: {chart.files[0]: [row | {"train_loss": loss} for row in rows("history.csv", 0.1)]}
        for revision, loss in (("HEAD", "1"), ("workspace", "2"))
    }
    content, definitions = render(chart, contents).get_partial_filled_template()
    (made,) = make_charts(chart.name, {"content": content, **definitions}, list(contents))
    assert {row["rev"] for row in made["data"]["values"]} == {"HEAD, workspace"}
