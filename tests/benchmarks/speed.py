"""Time training steps of both engines and of what else people use: ``make bench``.

Each measurement is a process of its own, because the thread pools of libraries disturb each other in one; the processes
take turns, so that a change of the machine's speed affects all. Kernels are the machine's own (``arithmetic: native``)
except in the rows that say portable, which take no part in the comparison.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from stages.pipeline import arithmetic
from stages.tools.machine import processor
from tests.benchmarks.accuracy import seconds_to_accuracies
from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.experiments import head_commit
from tests.benchmarks.profile import print_profile
from tests.benchmarks.task import BATCH, Task

RESULTS = Path("metrics/speed.json")
ROUNDS, THREADS = 5, (1, 2)
SECONDS = "seconds"  # those until an accuracy is reached, in place of a network
NETWORKS: dict[str, tuple[list[int], list[int]]] = {  # channels and hidden layers
    "784-128-64-10": ([], [128, 64]),
    "784-512-256-10": ([], [512, 256]),
    "conv-16-32-128": ([16, 32], [128]),
    "conv-32-64-128": ([32, 64], [128]),
}
# How many times as fast as the best of the others NumPy should be, and which fraction of its matrix products' speed.
GOALS = {"784-128-64-10": 1.3, "784-512-256-10": 1.0, "conv-16-32-128": 1.0, "conv-32-64-128": 1.0}
FLOOR_GOAL = 0.5
PORTABLE = {f"{engine}, portable": engine for engine in ("scratch", "torch")}
DENSE_ONLY = {"scikit-learn", "jax, epoch"}  # in a scan, XLA's convolutions on a CPU take 25 times as long
HEADINGS = ("network", "threads", "", "ms/step", "min", "images/s", "NumPy is", "/ native", "MiB")


class Row(NamedTuple):
    """One contender with one network."""

    network: str
    threads: int
    contender: str
    milliseconds: float
    minimum: float
    throughput: int
    times_as_fast: float  # NumPy, with native arithmetic
    portable_to_native: float | None  # the time's ratio, for the two engines with portable arithmetic
    mebibytes: int


class Verdict(NamedTuple):
    """NumPy against its goals."""

    network: str
    threads: int
    best: str  # of the others: the lowest median
    against_best: float
    of_floor: float

    def is_missed(self) -> bool:
        """Whether NumPy is slower than it should be."""
        return self.against_best < GOALS[self.network] or self.of_floor < FLOOR_GOAL

    def __str__(self) -> str:
        return (
            f"  NumPy: {self.against_best:.2f} times as fast as the best of the others ({self.best}), "
            f"goal {GOALS[self.network]}; {self.of_floor:.2f} of the floor's speed, goal {FLOOR_GOAL}"
        )


def main() -> None:
    """Time what is named, or all, and write what comes of each as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *NETWORKS, SECONDS], help="these alone")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"load of the machine at the start: {load:.2f} on {os.cpu_count()} cores")
    contenders = present_contenders()
    print(_format_row(HEADINGS))
    for part in options.parts or (*NETWORKS, SECONDS):
        if part == SECONDS:
            write_results(part, seconds_to_accuracies())
        else:
            write_results(
                part, {str(threads): compare(part, threads, contenders, options.rounds) for threads in THREADS}
            )


def compare(network: str, threads: int, contenders: list[str], rounds: int) -> dict[str, Any]:
    """Print one network's table; return each contender's milliseconds in every round, and its memory."""
    task = Task(threads, *NETWORKS[network])
    times, memory = measure_rounds(task, contenders, rounds)
    for name in times:
        print(_format_row(make_row(network, threads, name, times, memory[name])))
    verdict = judge(network, threads, times)
    print(verdict, flush=True)
    if verdict.is_missed():
        print("  where the time of a step goes:")
        print_profile(task)
    return {"milliseconds": times, "mebibytes": memory}


def write_results(name: str, measured: dict[str, Any]) -> None:
    """Take what was measured into the file, under the processor's name, with the commit."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results.setdefault(processor(), {})[name] = {"commit": head_commit(), **measured}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def present_contenders() -> list[str]:
    """The contenders for which this machine has what they need; says which it leaves out."""
    missing = {}
    if not (find_spec("jax") and find_spec("optax")):
        missing["jax"] = "no packages jax and optax (`make bench` installs them)"
    if not shutil.which(os.environ.get("CXX", "g++")):  # what torch.compile looks for
        missing["torch.compile"] = "no C++ compiler"
    present = []
    for name in (*CONTENDERS, *(PORTABLE if arithmetic.can_pin() else ())):
        if reason := missing.get(name.split(",")[0]):
            print(f"{name}: left out, {reason}")
        else:
            present.append(name)
    return present


def measure_rounds(task: Task, contenders: list[str], rounds: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Each contender's milliseconds in every round, and its memory; without those that cannot do the task."""
    times: dict[str, list[float]] = {name: [] for name in contenders if not (task.channels and name in DENSE_ONLY)}
    memory: dict[str, int] = {}
    for _ in range(rounds):
        for name in list(times):
            try:
                measured = measure(name, task)
            except subprocess.CalledProcessError as error:
                if not name.startswith(("torch.compile", "jax")):
                    raise
                print(f"{name}: left out, failed: {error.stderr.strip().splitlines()[-1]}")
                del times[name]
                continue
            times[name].append(round(measured["milliseconds"], 3))
            memory[name] = round(measured["mebibytes"])
    return times, memory


def make_row(network: str, threads: int, name: str, times: dict[str, list[float]], mebibytes: int) -> Row:
    """Medians over the rounds; a ratio is the median of those of each round, in which machines are alike."""
    median = statistics.median(times[name])
    return Row(
        network,
        threads,
        name,
        median,
        min(times[name]),
        round(BATCH / median * 1000),
        ratio(times[name], times["scratch"]),
        ratio(times[name], times[PORTABLE[name]]) if name in PORTABLE else None,
        mebibytes,
    )


def judge(network: str, threads: int, times: dict[str, list[float]]) -> Verdict:
    """NumPy against the best of the others with native arithmetic, and against its own matrix products."""
    others = {name: statistics.median(times[name]) for name in times.keys() - {"scratch", "floor", *PORTABLE}}
    best = min(others, key=others.__getitem__)
    return Verdict(
        network, threads, best, ratio(times[best], times["scratch"]), ratio(times["floor"], times["scratch"])
    )


def ratio(times: list[float], others: list[float]) -> float:
    """The median of the rounds' ratios, to two digits."""
    return round(statistics.median(own / other for own, other in zip(times, others, strict=True)), 2)


def measure(name: str, task: Task) -> dict[str, float]:
    """One contender, in a process of its own. Raises CalledProcessError when it fails."""
    environment = {variable: value for variable, value in os.environ.items() if variable not in arithmetic.KERNELS}
    if name in PORTABLE:
        arithmetic.pin(environment)
    command = [sys.executable, "-m", "tests.benchmarks.contenders", PORTABLE.get(name, name), json.dumps(task)]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def _format_row(cells: tuple[object, ...]) -> str:
    widths = (14, 7, 19, 8, 8, 9, 9, 9, 6)
    texts = ["" if cell is None else f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells]
    return "  ".join(
        text.ljust(width) if place in (0, 2) else text.rjust(width)
        for place, (text, width) in enumerate(zip(texts, widths, strict=True))
    )


if __name__ == "__main__":
    main()
