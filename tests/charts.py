"""The charts of dvc.yaml, those of single outputs included, as DVC itself collects them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from dvc.render.match import match_defs_renderers
from dvc.repo import Repo

from tests.imports import ROOT


class Chart(NamedTuple):
    """One chart of DVC's page."""

    name: str
    files: list[str]
    properties: dict[str, Any]


def collect_charts() -> list[Chart]:
    """All charts in the order in which DVC draws them; its images are no charts."""
    with Repo(str(ROOT)) as repo:
        definitions = next(iter(repo.plots.collect()))["workspace"]["definitions"]["data"]
    return [
        Chart(name, list(y) if isinstance(y := properties["y"], dict) else [name], properties)
        for group in definitions.values()
        for name, properties in group["data"].items()
        if not name.endswith(".png")
    ]


def render(chart: Chart, contents: Mapping[str, Mapping[str, list[dict[str, str]]]]) -> Any:
    """What DVC makes of a chart whose files have these rows in each revision."""
    data = {
        revision: {
            "definitions": {"data": {"dvc.yaml": {"data": {chart.name: chart.properties}}}},
            "sources": {"data": {file: {"data": {"": rows}} for file, rows in files.items()}},
        }
        for revision, files in contents.items()
    }
    (found,) = match_defs_renderers(data, templates_dir=str(ROOT / ".dvc/plots"))
    assert not found.definition_errors
    return found.renderer
