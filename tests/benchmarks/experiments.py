"""Experiments of DVC's with several seeds, each in a folder of its own, so that the workspace stays as it is."""

import json
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import dvc.api

SEEDS = (1, 2, 3)
ENGINES = ("torch", "scratch")


def run(name: str, options: Mapping[str, object], *targets: str) -> None:
    """Run one experiment. What DVC's cache already holds is not repeated."""
    subprocess.run(["dvc", "exp", "remove", name], capture_output=True)  # of an earlier call, if any
    settings = [part for key, value in options.items() for part in ("--set-param", setting(key, value))]
    subprocess.run(["dvc", "exp", "run", "--temp", "--name", name, *settings, *targets], check=True)


def setting(key: str, value: object) -> str:
    """``key=value`` as the command line of DVC wants it."""
    return f"{key}={json.dumps(value, separators=(',', ':'))}" if not isinstance(value, str) else f"{key}={value}"


def read(name: str, path: str) -> Any:
    """One of the metrics of an experiment."""
    return json.loads(dvc.api.read(path, rev=name))


def summary(accuracies: Sequence[float]) -> dict[str, object]:
    """What is published of some seeds' test accuracies."""
    return {
        "accuracies": accuracies,
        "mean": round(statistics.mean(accuracies), 6),
        "standard_deviation": round(statistics.stdev(accuracies), 6),
    }
