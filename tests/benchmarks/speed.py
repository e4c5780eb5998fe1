"""Time training steps of both engines and of what else people use: ``make bench``.

Each measurement is a process of its own, because the engines' thread pools disturb each other in one; the processes
take turns, so that a change of the machine's speed meets all. Kernels are the machine's own (``arithmetic: native``),
except where portable ones are named.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from stages.pipeline import arithmetic
from tests.benchmarks.accuracy import seconds_to_accuracies
from tests.benchmarks.contenders import BATCH, CONTENDERS, Task
from tests.benchmarks.profile import print_profile

ALTERNATIONS = 5
THREADS = (1, 2)


NETWORKS: dict[str, tuple[list[int], list[int]]] = {  # channels and hidden layers
    "784-128-64-10": ([], [128, 64]),
    "784-512-256-10": ([], [512, 256]),
    "conv [16, 32], hidden [128]": ([16, 32], [128]),
}
GOALS = {  # how many times as fast as the others NumPy should be on two threads
    "784-128-64-10": (1.3, 2.2, 2.0),
    "784-512-256-10": (1.0, 1.4, 2.0),
    "conv [16, 32], hidden [128]": (1.0, 1.2),
}
PORTABLE = {f"{engine}, portable": engine for engine in ("scratch", "torch")} if arithmetic.can_pin() else {}
HEADINGS = (
    "network",
    "threads",
    "",
    "ms/step",
    "min",
    "images/s",
    "x torch",
    "x tutorial",
    "x scikit-learn",
    "time / native",
    "MiB",
)


class Row(NamedTuple):
    """One contender with one network. It is ``times_...`` as fast as the others."""

    network: str
    threads: int
    contender: str
    milliseconds: float
    minimum: float
    throughput: int
    times_torch: float
    times_tutorial: float
    times_scikit_learn: float | None  # which has no convolution
    portable_to_native: float | None  # the time's ratio, for the two engines with portable arithmetic
    mebibytes: int


def main() -> None:
    """Print the table and the seconds to each accuracy, and write both to benchmark.json."""
    load = os.getloadavg()[0]
    print(f"load of the machine at the start: {load:.2f} on {os.cpu_count()} cores")
    print(_format_row(HEADINGS))
    rows: list[Row] = []
    for network, layers in NETWORKS.items():
        for threads in THREADS:
            new = compare(network, Task(threads, *layers))
            rows += new
            for row in new:
                print(_format_row(row), flush=True)
            if misses_goal(new[0]):
                print("  below the goal; where the time of a step goes:")
                print_profile(Task(threads, *layers))
    reached = seconds_to_accuracies()
    content = {"load": load, "cores": os.cpu_count(), "rows": [row._asdict() for row in rows], "seconds_to": reached}
    Path("benchmark.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def misses_goal(row: Row) -> bool:
    """Whether NumPy on two threads is slower than it should be, against any of the others."""
    ratios = (row.times_torch, row.times_tutorial, row.times_scikit_learn)
    goals = zip(ratios, GOALS[row.network], strict=False)  # with convolution, there is no third
    return row.threads == 2 and any(ratio is not None and ratio < goal for ratio, goal in goals)


def compare(network: str, task: Task) -> list[Row]:
    """Medians over the alternations; a ratio is the median of those of each round, in which machines are alike."""
    contenders = [name for name in CONTENDERS if name != "scikit-learn" or not task.channels] + list(PORTABLE)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    memory: dict[str, float] = {}
    for _ in range(ALTERNATIONS):
        for name in contenders:
            measured = measure(name, task)
            times[name].append(measured["milliseconds"])
            memory[name] = measured["mebibytes"]
    return [
        Row(
            network,
            task.threads,
            name,
            round(statistics.median(taken), 3),
            round(min(taken), 3),
            round(BATCH / statistics.median(taken) * 1000),
            times_as_fast(taken, times["torch"]),
            times_as_fast(taken, times["tutorial"]),
            times_as_fast(taken, times["scikit-learn"]) if "scikit-learn" in times else None,
            times_as_fast(times[PORTABLE[name]], taken) if name in PORTABLE else None,
            round(memory[name]),
        )
        for name, taken in times.items()
    ]


def times_as_fast(taken: list[float], others: list[float]) -> float:
    """The median ratio of the rounds, to two digits."""
    return round(statistics.median(other / own for other, own in zip(others, taken, strict=True)), 2)


def measure(name: str, task: Task) -> dict[str, float]:
    """One contender, in a process of its own."""
    environment = {variable: value for variable, value in os.environ.items() if variable not in arithmetic.KERNELS}
    if name in PORTABLE:
        arithmetic.pin(environment)
    command = [sys.executable, "-m", "tests.benchmarks.contenders", PORTABLE.get(name, name), json.dumps(task)]
    output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def _format_row(cells: tuple[object, ...]) -> str:
    widths = (27, 7, 17, 8, 8, 9, 9, 11, 15, 14, 6)
    texts = ["" if cell is None else f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells]
    return "  ".join(
        text.ljust(width) if place in (0, 2) else text.rjust(width)
        for place, (text, width) in enumerate(zip(texts, widths, strict=True))
    )


if __name__ == "__main__":
    main()
