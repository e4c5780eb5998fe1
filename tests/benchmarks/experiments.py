"""DVC experiments with several seeds, each in a folder of its own, so that the workspace stays as it is."""

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from io import BytesIO, StringIO
from typing import Any

import dvc.api
import numpy as np
import pandas as pd
from numpy.typing import NDArray

SEEDS = tuple(range(1, 11))
ENGINES = ("torch", "scratch")


def run(name: str, options: Mapping[str, object], *targets: str, deleted: Sequence[str] = ()) -> str:
    """Run one experiment and return what it printed. What DVC's run cache already holds is not repeated."""
    subprocess.run(["dvc", "exp", "remove", name], capture_output=True)  # of an earlier call, if any
    overrides = [*deleted, *(setting(key, value) for key, value in options.items())]
    arguments = [part for each in overrides for part in ("--set-param", each)]
    command = ["dvc", "exp", "run", "--temp", "--name", name, *arguments, *targets]
    printed = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            sys.stdout.write(line)
            printed.append(line)
    if process.returncode:
        sys.exit(f"error: {name} failed")
    return "".join(printed)


def setting(key: str, value: object) -> str:
    """``key=value`` as DVC's command line takes it."""
    return f"{key}={json.dumps(value, separators=(',', ':'))}" if not isinstance(value, str) else f"{key}={value}"


def read(name: str, path: str) -> Any:
    """One of the metrics of an experiment."""
    return json.loads(dvc.api.read(path, rev=name))


def read_csv(name: str, path: str) -> pd.DataFrame:
    """One of the tables of an experiment."""
    return pd.read_csv(StringIO(dvc.api.read(path, rev=name)))


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
