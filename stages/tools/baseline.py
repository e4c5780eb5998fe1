"""An engine's results as git has them, and which commit's are the ones to compare with."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from stages.pipeline.errors import PipelineError
from stages.tools.git import git

TAG = "refs/tags/baseline"


class Results(NamedTuple):
    """One engine's test results in the workspace or in a commit."""

    dataset: str
    support: tuple[int, ...]  # test images of each class
    accuracy: float
    wrong: frozenset[int]  # the misclassified test images
    seeds: dict[int, float]  # accuracies by seed, from metrics/seeds.json where that belongs to these results

    def is_comparable_with(self, other: "Results") -> bool:
        """Whether both are of the same test images, as far as git knows."""
        return (self.dataset, self.support) == (other.dataset, other.support)


def read_workspace(engine: str) -> Results:
    """Raises PipelineError when a file is not what the evaluate stage writes."""
    try:
        return parse(lambda path: Path(path).read_text(encoding="utf-8"), engine)
    except (OSError, ValueError, KeyError, TypeError):
        message = f"metrics/{engine}.json or plots/{engine}: missing or damaged"
        raise PipelineError(f"{message}; make it again with `dvc repro --force evaluate@{engine}`") from None


def read_commit(revision: str, engine: str) -> Results | None:
    """None where the commit lacks the files, as those before mistakes.csv do, or they are damaged."""
    try:
        return parse(lambda path: git(Path(), "show", f"{revision}:./{path}"), engine)
    except (PipelineError, ValueError, KeyError, TypeError):
        return None


def parse(read: Callable[[str], str], engine: str) -> Results:
    """The results in the files that ``read`` gives the text of."""
    metrics = json.loads(read(f"metrics/{engine}.json"))
    classes = csv.DictReader(read(f"plots/{engine}/classes.csv").splitlines())
    mistakes = csv.DictReader(read(f"plots/{engine}/mistakes.csv").splitlines())
    return Results(
        str(metrics["dataset"]),
        tuple(int(row["support"]) for row in classes),
        float(metrics["accuracy"]),
        frozenset(int(row["index"]) for row in mistakes),
        parse_seeds(read, engine, float(metrics["accuracy"])),
    )


def parse_seeds(read: Callable[[str], str], engine: str, accuracy: float) -> dict[int, float]:
    """Accuracies by seed; none where metrics/seeds.json is of another run, whose first accuracy differs."""
    try:
        content = json.loads(read("metrics/seeds.json"))
        accuracies = dict(zip(content["seeds"], content[engine]["accuracies"], strict=True))
    except (OSError, PipelineError, ValueError, KeyError, TypeError):
        return {}
    return accuracies if accuracies and next(iter(accuracies.values())) == accuracy else {}


def best_ancestor(engine: str, now: Results) -> tuple[str, Results] | None:
    """The commit with the highest accuracy on the same test images, the newest of equals, and its results."""
    found = [(revision, read_commit(revision, engine)) for revision in ancestors(engine)]
    comparable = [(revision, each) for revision, each in found if each and each.is_comparable_with(now)]
    return max(comparable, key=lambda item: item[1].accuracy, default=None)


def ancestors(engine: str) -> Iterator[str]:
    """HEAD and its first parents that changed the results, newest first, down to the tag `baseline` if there is one."""
    tagged = git(Path(), "for-each-ref", "--format=%(refname)", TAG).split()
    since = [f"{TAG}..HEAD"] if tagged else ["HEAD"]
    log = git(Path(), "log", "--first-parent", "--format=%H", *since, "--", f"plots/{engine}/mistakes.csv")
    yield from (*log.split(), *tagged)
