"""Fail when accuracy is significantly below that of the best ancestor: ``python -m stages.tools.gate [REVISION]``.

Workspace and ancestor are compared on the same test images, so the size of the test split explains no difference: what
moves without a reason is training, by its seed, its order and its rounding. Accuracy has fallen when the paired 95 %
interval of the difference lies below 0. That covers other images, not other trainings; where both have
metrics/seeds.json of the same seeds, the interval over seeds decides instead. The best ancestor, in place of the last
commit, so that many small losses don't add up; a tag `baseline` ends the search, and with a revision, that commit is
compared with. All this is in git, so it needs no model. It does need results of the workspace as it is: after an
interrupted training, those there are of the run before.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.stats import sem, t

from stages.engines import ENGINES
from stages.evaluation.metrics import Interval
from stages.evaluation.paired import tango_interval
from stages.pipeline.errors import PipelineError
from stages.tools import status
from stages.tools.baseline import Results, best_ancestor, read_commit, read_workspace
from stages.tools.commands import start
from stages.tools.git import git, require_in_head


def main() -> None:
    """Compare each engine's results with the baseline's, if the workspace has its own; exit status 1 if one fell."""
    require_in_head("dvc.lock")
    status.main()
    compare(sys.argv[1] if len(sys.argv) > 1 else None)


def compare(revision: str | None = None) -> None:
    """Print the differences and the verdict; end with exit status 1 when an accuracy has fallen."""
    fallen = [engine for engine in ENGINES if has_fallen(engine, revision)]
    if fallen:
        sys.exit(
            f"the gate is shut: the accuracy of {' and '.join(fallen)} has fallen; "
            "to accept that, commit it and `git tag --force baseline`"
        )
    print("the gate is open: no accuracy has fallen")


def has_fallen(engine: str, revision: str | None) -> bool:
    """Return whether the accuracy is below the baseline's, and print both."""
    now = read_workspace(engine)
    found = read_named(revision, engine, now) if revision else best_ancestor(engine, now)
    if not found:
        print(f"{engine}: accuracy {now.accuracy:.2%}, no commit has such results: nothing to compare with")
        return False
    name, best = found[0].removeprefix("refs/tags/"), found[1]
    intervals = {"on the same images": difference_on_images(now, best)}
    if now.seeds and now.seeds.keys() == best.seeds.keys() and len(now.seeds) > 1:
        intervals[f"over {len(now.seeds)} seeds"] = difference_over_seeds(now, best)
    for kind, (low, high) in intervals.items():
        print(
            f"{engine}: accuracy {now.accuracy:.2%}, in {name[:12]} {best.accuracy:.2%}; "
            f"95 % interval of the difference {kind}: {low:+.2%} to {high:+.2%}"
        )
    *_, decisive = intervals.values()
    return decisive.high < 0


def read_named(revision: str, engine: str, now: Results) -> tuple[str, Results]:
    """The results of the commit that the user names. Raises PipelineError where they cannot be compared with."""
    git(Path(), "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    results = read_commit(revision, engine)
    if not results:
        raise PipelineError(f"{engine}: {revision} has no results with plots/{engine}/mistakes.csv")
    if not results.is_comparable_with(now):
        raise PipelineError(f"{engine}: {revision} has other test images ({results.dataset}, here {now.dataset})")
    return revision, results


def difference_on_images(now: Results, best: Results) -> Interval:
    """The paired interval of accuracy(now) − accuracy(best), from the images that only one of them misclassifies."""
    return tango_interval(len(best.wrong - now.wrong), len(now.wrong - best.wrong), sum(now.support))


def difference_over_seeds(now: Results, best: Results) -> Interval:
    """The paired t interval of the same difference, from the accuracies of each seed."""
    differences = np.array([accuracy - best.seeds[seed] for seed, accuracy in now.seeds.items()])
    margin = t.ppf(0.975, len(differences) - 1) * sem(differences)
    return Interval(float(differences.mean() - margin), float(differences.mean() + margin))


if __name__ == "__main__":
    start(main)
