"""Tables of metrics and parameters, a column for each revision."""

import json
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import Any, NamedTuple

import dvc.api
from dvc.exceptions import DvcException

MISSING = object()  # null is a value
METRICS, PARAMETERS = "metrics/summary.json", "params.yaml"
PERCENT = re.compile(r"acc|\.(val|test)$")  # in the name of a metric that is a fraction
MAIN = (  # parameters that are shown though they are the same in all revisions
    "seed", "network.channels", "network.hidden_sizes", "network.batch_norm", "optimizer.name",
    "optimizer.learning_rate", "optimizer.schedule", "training.epochs", "training.batch_size", "augmentation.enabled",
    "torch.*", "scratch.*",
)  # fmt: skip


Row = tuple[str, list[str]]


class Table(NamedTuple):
    """A title, and rows of a name and a text for each revision."""

    title: str
    rows: list[Row]


def metrics_table(revisions: Sequence[str]) -> Table:
    """The metrics of metrics/summary.json, and by how much they differ from the first revision's."""
    columns = [_read(dvc.api.metrics_show, METRICS, revision) for revision in revisions]
    return Table("Metrics", [(name, _compared(name, values)) for name, values in _rows(columns).items()])


def parameters_tables(revisions: Sequence[str]) -> tuple[Table, Table]:
    """The parameters that differ between revisions, or of a single one the main ones, and all others."""
    columns = [_read(dvc.api.params_show, PARAMETERS, revision) for revision in revisions]
    first: list[Row] = []
    others: list[Row] = []
    for name, values in _rows(columns).items():
        row = name, ["–" if value is MISSING else json.dumps(value).strip('"') for value in values]
        is_first = len(set(row[1])) > 1 if len(revisions) > 1 else any(fnmatch(name, main) for main in MAIN)
        (first if is_first else others).append(row)
    title = "Parameters that differ" if len(revisions) > 1 else "Main parameters"
    return Table(title, first), Table("All other parameters", others)


def _read(show: Any, file: str, revision: str) -> dict[str, Any]:
    """The values of a file at a revision by their full names; none where it is missing, as while it is made again."""
    try:
        return flatten(show(file, rev=None if revision == "workspace" else revision))
    except (DvcException, OSError):
        return {}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of nested mappings by their keys, joined with dots."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return leaves


def _rows(columns: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for column in columns for name in column)
    return {name: [column.get(name, MISSING) for column in columns] for name in names}


def _compared(name: str, values: Sequence[Any]) -> list[str]:
    texts = [_format(name, value) for value in values]
    for place, value in enumerate(values[1:], 1):
        if isinstance(value, int | float) and isinstance(values[0], int | float) and value != values[0]:
            texts[place] += f" ({_format(name, value - values[0], '+')})"
    return texts


def _format(name: str, value: Any, sign: str = "") -> str:
    if value is MISSING:
        return "–"
    if not isinstance(value, float):
        return f"{value:{sign}}" if isinstance(value, int) else str(value)
    return f"{value:{sign}.2%}" if PERCENT.search(name) else f"{value:{sign}.4g}"
