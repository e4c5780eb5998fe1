"""Whether the results in the workspace are worse than those of the last commit: ``python -m stages.tools.gate``.

A network trained anew errs on a few other digits, so accuracy moves by some digits whenever anything changes. It has
fallen when it is below the 95 % Wilson interval of HEAD's accuracy: that is more than the test split's size explains.
Both numbers are in git, so this needs no model and no prediction of an earlier commit.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import dvc.api
from dvc.exceptions import DvcException

from stages.engines import ENGINES
from stages.pipeline.errors import PipelineError


class Result(NamedTuple):
    """What the gate reads of metrics/ENGINE.json."""

    dataset: str
    accuracy: float
    accuracy_low: float


def main() -> None:
    """Say how each engine's accuracy compares with HEAD's; end with exit status 1 when one has fallen."""
    fallen = [engine for engine in ENGINES if has_fallen(engine)]
    if fallen:
        sys.exit(f"the gate is shut: the accuracy of {' and '.join(fallen)} has fallen by more than chance explains")


def has_fallen(engine: str) -> bool:
    """Whether the accuracy is below the interval of the committed one, and print it."""
    path = Path(f"metrics/{engine}.json")
    try:
        committed, now = parse(path, dvc.api.read(path.as_posix(), rev="HEAD")), parse(path, path.read_bytes())
    except (OSError, DvcException):
        raise PipelineError(f"{path}: not in HEAD and in the workspace; run `dvc repro` and commit it") from None
    if now.dataset != committed.dataset:
        raise PipelineError(f"{engine}: tested on {now.dataset}, HEAD on {committed.dataset}; not to be compared")
    fallen = now.accuracy < committed.accuracy_low
    print(
        f"{engine}: accuracy {now.accuracy:.2%}, in HEAD {committed.accuracy:.2%}; "
        f"{'below' if fallen else 'not below'} {committed.accuracy_low:.2%}, where HEAD's 95 % interval begins"
    )
    return fallen


def parse(path: Path, content: str | bytes) -> Result:
    """The metrics of one engine. Raises PipelineError when they are not what the evaluate stage writes."""
    try:
        metrics = json.loads(content)
        return Result(str(metrics["dataset"]), float(metrics["accuracy"]), float(metrics["accuracy_low"]))
    except (ValueError, KeyError, TypeError):
        raise PipelineError(f"{path}: damaged; make it again with `dvc repro --force evaluate@{path.stem}`") from None


if __name__ == "__main__":
    try:
        main()
    except PipelineError as error:
        sys.exit(f"error: {error}")
