"""Seconds of training until 97, 98, 99 and 99.5 % of test images are right, for both engines; part of ``make bench``.

CHOSEN names a candidate for each goal and engine: network, batch size, learning rate and epochs. To choose one,
``python -m tests.benchmarks.accuracy search ENGINE GOAL`` times all on validation images, with other seeds. The present
entries are guesses that no finished search stands behind.

To measure, each choice is trained with five seeds, and the clock stops at the first evaluation on the test images that
reaches the goal. It stands still during evaluation. A run may touch the goal by luck, once, before it stays above:
among 20 evaluations that shortens times a little, in both engines alike.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from stages.engines import make
from stages.engines.config import Config, EngineConfig
from stages.pipeline.classifier import UNSTANDARDIZED, predict_in_batches
from stages.pipeline.metrics import accuracy
from stages.pipeline.params import load_config
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import Split, load_split
from stages.training.augmentation import Augmentation
from stages.training.batches import shuffled_batches, steps_per_epoch
from stages.training.schedules import make_schedule

THREADS, EVALUATIONS = 2, 20  # evaluations of a run, evenly spaced
SEEDS, SEARCH_SEEDS = (1, 2, 3, 4, 5), (11, 12, 13)
ENGINES = ("scratch", "torch")
Choice = dict[str, Any]  # what differs from params.yaml


def choice(
    epochs: int, batch_size: int, learning_rate: float, hidden_sizes: list[int], channels: list[int] | None = None
) -> Choice:
    """A short training without regularization."""
    return {
        "network": {"channels": channels or [], "hidden_sizes": hidden_sizes, "initialization": "he_uniform"},
        "optimizer": {"learning_rate": learning_rate},
        "training": {"epochs": epochs, "batch_size": batch_size},
    }


def normalized(base: Choice, augmented: bool = False) -> Choice:
    """The same with batch normalization and a moving average, and perhaps on distorted images."""
    return {
        "network": {**base["network"], "batch_norm": True},
        "optimizer": {**base["optimizer"], "ema_decay": 0.99},
        "training": base["training"],
        "augmentation": {"enabled": augmented},
    }


CANDIDATES: dict[float, dict[str, Choice]] = {
    0.97: {
        "2 epochs of 128": choice(2, 128, 0.006, [128, 64]),
        "2 epochs of 128, 256": choice(2, 128, 0.006, [256]),
        "3 epochs of 256": choice(3, 256, 0.01, [128, 64]),
    },
    0.98: {
        "5 epochs of 128, 256": choice(5, 128, 0.005, [256]),
        "4 epochs of 128, 512": choice(4, 128, 0.005, [512]),
        "5 epochs of 256, 512": choice(5, 256, 0.006, [512]),
    },
    0.99: {
        "1 epoch of 64": choice(1, 64, 0.004, [128], [16, 32]),
        "1 epoch of 64, small": choice(1, 64, 0.005, [64], [8, 16]),
        "2 epochs of 128": choice(2, 128, 0.006, [64], [8, 16]),
        "1 epoch of 64, normalized": normalized(choice(1, 64, 0.006, [64], [8, 16])),
    },
    0.995: {
        "6 epochs of 128": normalized(choice(6, 128, 0.006, [128], [16, 32]), augmented=True),
        "8 epochs of 64": normalized(choice(8, 64, 0.004, [128], [16, 32]), augmented=True),
        "5 epochs of 128": normalized(choice(5, 128, 0.006, [128], [32, 64]), augmented=True),
    },
}
# Provisional: to become the fastest candidate that `search` finds on validation images.
CHOSEN: dict[float, dict[str, str]] = {
    0.97: {"scratch": "2 epochs of 128, 256", "torch": "2 epochs of 128, 256"},
    0.98: {"scratch": "4 epochs of 128, 512", "torch": "4 epochs of 128, 512"},
    0.99: {"scratch": "1 epoch of 64", "torch": "1 epoch of 64"},
    0.995: {"scratch": "6 epochs of 128", "torch": "6 epochs of 128"},
}


def seconds_to_accuracies() -> dict[str, dict[str, list[float | None]]]:
    """Each engine's seconds for each accuracy and seed; None where it does not get there. The engines take turns."""
    results: dict[str, dict[str, list[float | None]]] = {engine: {} for engine in ENGINES}
    for goal, chosen in CHOSEN.items():
        runs: dict[str, list[float | None]] = {engine: [] for engine in ENGINES}
        for seed in SEEDS:
            for engine in ENGINES:
                runs[engine].append(in_own_process(engine, goal, chosen[engine], seed, "test"))
        for engine, seconds in runs.items():
            results[engine][f"{goal:.1%}"] = seconds
            print(f"{engine}: {goal:.1%} of the test images {summary(seconds)}, {chosen[engine]}", flush=True)
    return results


def search(engine: str, goal: float) -> None:
    """Time every candidate on the validation images."""
    for name in CANDIDATES[goal]:
        seconds = [in_own_process(engine, goal, name, seed, "validation") for seed in SEARCH_SEEDS]
        print(f"{engine}: {goal:.1%} of the validation images {summary(seconds)}, {name}", flush=True)


def summary(seconds: list[float | None]) -> str:
    """The median and the spread, or how many runs got there; a run that did not counts as the slowest."""
    reached = [each for each in seconds if each is not None]
    if len(reached) <= len(seconds) / 2:
        return f"reached in {len(reached)} of {len(seconds)} runs"
    median = statistics.median([each if each is not None else float("inf") for each in seconds])
    missed = f", not reached in {len(seconds) - len(reached)} runs" if len(reached) < len(seconds) else ""
    return f"after {median:.2f} s ({min(reached):.2f} to {max(reached):.2f}{missed}), {len(seconds)} runs"


def in_own_process(engine: str, goal: float, name: str, seed: int, split: str) -> float | None:
    """Seconds of one run."""
    command = [sys.executable, "-m", "tests.benchmarks.accuracy", "run", engine, str(goal), name, str(seed), split]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    seconds: float | None = json.loads(output)
    return seconds


def seconds_to(engine: str, goal: float, name: str, seed: int, split: str) -> float | None:
    """Train a candidate, evaluate it on a split 20 times, and stop the clock at the goal; None if it is not reached."""
    config = load_config(Config).torch.updated(**CANDIDATES[goal][name], threads=THREADS, device="cpu")
    generators = spawn_generators(seed)
    classifier = make(engine, config, generators, UNSTANDARDIZED)
    training, evaluated = load_split("train"), load_split(split)
    steps = steps_per_epoch(training, config.training.batch_size)
    schedule, total = make_schedule(config, steps), steps * config.training.epochs
    ends = {total * (index + 1) // EVALUATIONS for index in range(EVALUATIONS)}
    seconds, started = 0.0, time.perf_counter()
    for step, batch in enumerate(batches(training, config, generators.shuffling, generators.augmentation)):
        classifier.train_batch(batch.images, batch.labels, schedule(step))
        if step + 1 in ends:
            seconds += time.perf_counter() - started
            if accuracy(predict_in_batches(classifier, evaluated.images), evaluated.labels) >= goal:
                return round(seconds, 2)
            started = time.perf_counter()
    return None


def batches(training: Split, config: EngineConfig, shuffling: Any, distorting: Any) -> Iterator[Split]:
    """Those of all epochs, as the training loop makes them."""
    augment = Augmentation(config.augmentation, float(training.images.min())) if config.augmentation.enabled else None
    for _ in range(config.training.epochs):
        for batch in shuffled_batches(training, config.training.batch_size, shuffling):
            yield Split(augment(batch.images, distorting), batch.labels) if augment else batch


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run", engine, goal, name, seed, split]:
            print(json.dumps(seconds_to(engine, float(goal), name, int(seed), split)))
        case ["search", engine, goal]:
            search(engine, float(goal))
        case []:
            seconds_to_accuracies()
        case _:
            sys.exit("usage: python -m tests.benchmarks.accuracy [search ENGINE GOAL]")
