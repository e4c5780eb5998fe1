"""Trainings with several seeds, as DVC experiments apart from the workspace, or on a Ray cluster."""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import dvc.api
import numpy as np
from numpy.typing import NDArray

from stages.pipeline.classifier import Labels, Probabilities
from stages.tools.commands import setting

ENGINES = ("torch", "scratch")


class Training(NamedTuple):
    """One engine's training: its name and how its config differs from params.yaml."""

    name: str
    engine: str
    options: Mapping[str, object]
    deleted: Sequence[str] = ()

    def overrides(self) -> list[str]:
        """As ``dvc exp run --set-param`` takes them."""
        return [*self.deleted, *(setting(key, value) for key, value in self.options.items())]


class Outcome(NamedTuple):
    """What a training gave: its params.yaml, the test images' probabilities (N, 10) and labels, how long it took.

    The time is None where the model was not trained on this machine, or not now.
    """

    params: str
    probabilities: Probabilities
    labels: Labels
    seconds: float | None


def parser(description: str, seeds: int) -> argparse.ArgumentParser:
    """The options that `make seeds` and `make recipes` have in common."""
    result = argparse.ArgumentParser(description=description.partition("\n")[0])
    result.add_argument(
        "--seeds",
        type=seed_count,
        default=seeds,
        metavar="N",
        help=f"train with seeds 1 to N ({seeds})",
    )
    result.add_argument("--address", default=os.environ.get("RAY_ADDRESS"), help="of a Ray cluster to train on")
    return result


def seed_count(text: str) -> int:
    """A number of seeds, of which there must be two for a standard deviation."""
    if not text.isdecimal() or not 2 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"must be 2 to 1000, got {text!r}")
    return int(text)


def outcomes(trainings: Sequence[Training], address: str | None) -> Iterator[Outcome]:
    """Train in this order what no earlier call has trained, or all at once on the cluster at an address."""
    return outcomes_of_cluster(trainings, address) if address else map(outcome_of_experiment, trainings)


def outcome_of_experiment(training: Training) -> Outcome:
    """Run one experiment. What DVC's run cache already holds is not repeated."""
    name, engine = training.name, training.engine
    subprocess.run(["dvc", "exp", "remove", name], capture_output=True)  # of an earlier call, if any
    arguments = [part for each in training.overrides() for part in ("--set-param", each)]
    command = ["dvc", "exp", "run", "--temp", "--name", name, *arguments, f"evaluate@{engine}"]
    printed = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            sys.stdout.write(line)
            printed.append(line)
    if process.returncode:
        sys.exit(f"error: {name} failed")
    probabilities = read_npy(name, f"data/predictions/{engine}.npy")
    labels = read_npy(name, "data/processed/test_labels.npy")
    return Outcome(dvc.api.read("params.yaml", rev=name), probabilities, labels, seconds_of(engine, "".join(printed)))


def seconds_of(engine: str, output: str) -> float | None:
    """How long an experiment's training took; None where DVC took its model from the run cache."""
    found = re.search(rf"^{engine}: .*trained in ([\d.]+) s", output, re.MULTILINE)
    return float(found[1]) if found else None


def outcomes_of_cluster(trainings: Sequence[Training], address: str) -> Iterator[Outcome]:
    """Train there and evaluate here, in a process of its own that computes as the stages do."""
    jobs = [{"name": each.name, "engine": each.engine, "overrides": each.overrides()} for each in trainings]
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "stages.tools.cluster", address, folder]
        if status := subprocess.run(command, input=json.dumps(jobs), text=True).returncode:
            sys.exit(status)
        labels = np.load(Path(folder, "labels.npy"), allow_pickle=False)
        for each in trainings:
            params = Path(folder, f"{each.name}.yaml").read_text(encoding="utf-8")
            yield Outcome(params, np.load(Path(folder, f"{each.name}.npy"), allow_pickle=False), labels, None)


def read_npy(name: str, path: str) -> NDArray[Any]:
    """One of the arrays of an experiment, from DVC's cache."""
    array: NDArray[Any] = np.load(BytesIO(dvc.api.read(path, rev=name, mode="rb")), allow_pickle=False)
    return array


def summary(accuracies: Sequence[float]) -> dict[str, object]:
    """What is published of several seeds' test accuracies."""
    return {
        "accuracies": accuracies,
        "mean": round(statistics.mean(accuracies), 6),
        "standard_deviation": round(statistics.stdev(accuracies), 6),
    }


def head_commit() -> str | None:
    """The commit whose code is measured, in short; None where there is no git repository."""
    finished = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return finished.stdout.strip() or None
