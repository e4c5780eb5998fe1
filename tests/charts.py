"""The charts of dvc.yaml, those of single outputs included, as DVC itself collects them."""

from typing import Any, NamedTuple

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
