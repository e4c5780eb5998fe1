"""Whether the results in the workspace are worse than those of the last commit: ``python -m stages.tools.gate``.

A network trained anew errs on a few other digits, so accuracy moves by some digits whenever anything changes. It has
fallen when it is below the 95 % Wilson interval of HEAD's accuracy: that is more than the test split's size explains.
Both numbers are in git, so this needs no model and no prediction of an earlier commit.
"""

import json
import sys
from pathlib import Path
from typing import Any

import dvc.api
from dvc.exceptions import DvcException

from stages.pipeline.stage import PipelineError

METRICS = [Path("metrics/torch.json"), Path("metrics/scratch.json")]


def main() -> None:
    """Say how each engine's accuracy compares with HEAD's; end with exit status 1 when one has fallen."""
    verdicts = []
    for path in METRICS:
        try:
            committed, now = parse(path, dvc.api.read(path.as_posix(), rev="HEAD")), parse(path, path.read_bytes())
        except (OSError, DvcException):
            raise PipelineError(f"{path}: not in HEAD and in the workspace; run `dvc repro` and commit it") from None
        verdicts.append(has_fallen(path.stem, committed, now))
    if any(verdicts):
        sys.exit("the gate is shut: accuracy has fallen by more than chance explains")


def parse(path: Path, content: str | bytes) -> dict[str, Any]:
    """The metrics that the gate reads. Raises PipelineError when they are not what the evaluate stage writes."""
    try:
        metrics = json.loads(content)
        return {name: metrics[name] for name in ("dataset", "accuracy", "accuracy_low")}
    except (ValueError, KeyError, TypeError):
        raise PipelineError(f"{path}: damaged; make it again with `dvc repro --force evaluate@{path.stem}`") from None


def has_fallen(engine: str, committed: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether the accuracy is below the interval of the committed one, and print it."""
    if now["dataset"] != committed["dataset"]:
        raise PipelineError(f"{engine}: tested on {now['dataset']}, HEAD on {committed['dataset']}; not to be compared")
    fallen = bool(now["accuracy"] < committed["accuracy_low"])
    print(
        f"{engine}: accuracy {now['accuracy']:.2%}, in HEAD {committed['accuracy']:.2%}; "
        f"{'below' if fallen else 'not below'} {committed['accuracy_low']:.2%}, where HEAD's 95 % interval begins"
    )
    return fallen


if __name__ == "__main__":
    try:
        main()
    except PipelineError as error:
        sys.exit(f"error: {error}")
