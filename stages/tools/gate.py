"""Fail when accuracy has fallen since the last commit: ``python -m stages.tools.gate``.

Any change moves accuracy a little, because a retrained network misclassifies slightly different images. Accuracy has
fallen when it is below the 95 % Wilson interval of HEAD's: more than the size of the test split explains. Both numbers
are in git, so this needs no model and no predictions of an earlier commit. It does need metrics of the workspace as it
is: after an interrupted training, those in the workspace are of the run before.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

from stages.engines import ENGINES
from stages.pipeline.errors import PipelineError
from stages.tools import status
from stages.tools.commands import start
from stages.tools.git import git, require_in_head


class Result(NamedTuple):
    """What the gate reads of metrics/ENGINE.json."""

    dataset: str
    accuracy: float
    accuracy_low: float


def main() -> None:
    """Compare each engine's accuracy with HEAD's, if the workspace has results; exit status 1 when one has fallen."""
    require_in_head("dvc.lock")
    status.main()
    compare()


def compare() -> None:
    """Print the accuracies; end with exit status 1 when one has fallen."""
    fallen = [engine for engine in ENGINES if has_fallen(engine)]
    if fallen:
        sys.exit(f"the gate is shut: the accuracy of {' and '.join(fallen)} has fallen by more than chance explains")


def has_fallen(engine: str) -> bool:
    """Return whether the accuracy is below the interval of the committed one, and print both."""
    path = Path(f"metrics/{engine}.json")
    now = parse(path, path.read_bytes())
    if not git(Path(), "ls-tree", "--name-only", "HEAD", path.as_posix()):
        print(f"{engine}: accuracy {now.accuracy:.2%}, not in HEAD: nothing to compare with")
        return False
    committed = parse(path, git(Path(), "show", f"HEAD:./{path.as_posix()}"))
    if now.dataset != committed.dataset:
        raise PipelineError(f"{engine}: evaluated on {now.dataset}, HEAD on {committed.dataset}; not comparable")
    fallen = now.accuracy < committed.accuracy_low
    print(
        f"{engine}: accuracy {now.accuracy:.2%}, in HEAD {committed.accuracy:.2%}; "
        f"{'below' if fallen else 'not below'} {committed.accuracy_low:.2%}, the lower end of HEAD's 95 % interval"
    )
    return fallen


def parse(path: Path, content: str | bytes) -> Result:
    """Parse the metrics of one engine. Raises PipelineError when they are not what the evaluate stage writes."""
    try:
        metrics = json.loads(content)
        return Result(str(metrics["dataset"]), float(metrics["accuracy"]), float(metrics["accuracy_low"]))
    except (ValueError, KeyError, TypeError):
        raise PipelineError(f"{path}: damaged; make it again with `dvc repro --force evaluate@{path.stem}`") from None


if __name__ == "__main__":
    start(main)
