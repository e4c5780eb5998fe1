"""Seconds of training until 97, 98, 99 and 99.5 % of test images are right, for both engines; part of ``make bench``.

CHOSEN names a candidate for each goal and engine: network, batch size, learning rate, threads, and the number of images
after which the learning rate has fallen to 0. To choose, ``python -m tests.benchmarks.accuracy search ENGINE GOAL``
times all candidates on validation images, with three other seeds; for 99.5 %, the slow ones were run with one.

To measure, each choice is trained with five seeds, and the clock stops at the first evaluation on the test images that
reaches the goal. It starts after one step of another classifier, and stands still during evaluation. A run may touch
the goal by luck, once, before it stays above: among 20 evaluations that shortens times a little, in both engines alike.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, NamedTuple

from stages.engines import make
from stages.engines.config import Config, EngineConfig
from stages.pipeline.arithmetic import THREADS_AND_PRECISION
from stages.pipeline.classifier import UNSTANDARDIZED, predict_in_batches
from stages.pipeline.metrics import accuracy
from stages.pipeline.params import load_config
from stages.pipeline.rng import Generators, spawn_generators
from stages.pipeline.splits import Split, load_split
from stages.training.augmentation import Augmentation
from stages.training.batches import shuffled_batches
from stages.training.schedules import make_schedule

EVALUATIONS = 20  # of a run, evenly spaced
SEEDS, SEARCH_SEEDS = (1, 2, 3, 4, 5), (11, 12, 13)
ENGINES = ("scratch", "torch")


class Candidate(NamedTuple):
    """A training: the images it sees, those seen again counted again, and what differs from params.yaml."""

    images: int
    threads: int
    options: dict[str, Any]
    undistorted: float = 0.0  # fraction of the images, the last ones, that augmentation leaves as they are


def make_candidate(
    images: int, batch_size: int, learning_rate: float, channels: list[int], threads: int = 2, **network: object
) -> Candidate:
    """A short training; without ``hidden_sizes``, one linear layer follows the last feature maps."""
    return Candidate(
        images,
        threads,
        {
            "network": {"channels": channels, "hidden_sizes": [], "initialization": "he_uniform", **network},
            "optimizer": {"learning_rate": learning_rate},
            "training": {"epochs": 1, "batch_size": batch_size},
        },
    )


def augmented(base: Candidate) -> Candidate:
    """The same on images of which all but the last quarter are distorted, with a moving average of the weights."""
    optimizer = {**base.options["optimizer"], "ema_decay": 0.99}
    options = {**base.options, "optimizer": optimizer, "augmentation": {"enabled": True}}
    return base._replace(options=options, undistorted=0.25)


TWO_SMALL: dict[str, Any] = {"convolutions": 2, "kernel_size": 3, "batch_norm": True}  # in each block
CANDIDATES: dict[float, dict[str, Candidate]] = {
    0.97: {
        "dense [256]": make_candidate(64_000, 64, 0.004, [], hidden_sizes=[256]),
        "[8], batches of 32": make_candidate(20_000, 32, 0.02, [8]),
        "[8], batches of 32, one thread": make_candidate(20_000, 32, 0.02, [8], threads=1),
        "[8], batches of 16, one thread": make_candidate(16_000, 16, 0.02, [8], threads=1),
        "[16], batches of 32": make_candidate(16_000, 32, 0.02, [16]),
    },
    0.98: {
        "[16]": make_candidate(46_000, 32, 0.01, [16]),
        "[16], one thread": make_candidate(46_000, 32, 0.01, [16], threads=1),
        "[8, 16]": make_candidate(44_000, 32, 0.01, [8, 16]),
        "[8, 16], normalized": make_candidate(26_000, 32, 0.01, [8, 16], batch_norm=True),
        "[16, 32], normalized": make_candidate(18_000, 32, 0.01, [16, 32], batch_norm=True),
    },
    0.99: {
        "[16, 32], normalized": make_candidate(48_000, 32, 0.01, [16, 32], batch_norm=True),
        "[16, 32], normalized, batches of 64": make_candidate(66_000, 64, 0.01, [16, 32], batch_norm=True),
        "[16, 32], normalized, batches of 64, fewer": make_candidate(55_000, 64, 0.015, [16, 32], batch_norm=True),
        "[16, 48], normalized, batches of 64": make_candidate(55_000, 64, 0.01, [16, 48], batch_norm=True),
        "[16, 32]": make_candidate(110_000, 64, 0.01, [16, 32]),
    },
    0.995: {
        "[16, 32]": augmented(make_candidate(330_000, 64, 0.01, [16, 32], batch_norm=True)),
        "[16, 64]": augmented(make_candidate(275_000, 64, 0.01, [16, 64], batch_norm=True)),
        "two 3x3, [16, 32]": augmented(make_candidate(275_000, 64, 0.006, [16, 32], **TWO_SMALL)),
        "two 3x3, [16, 64]": augmented(make_candidate(220_000, 64, 0.006, [16, 64], **TWO_SMALL)),
        "two padded 3x3, [8, 32, 64]": augmented(
            make_candidate(275_000, 64, 0.006, [8, 32, 64], padding=1, **TWO_SMALL)
        ),
    },
}
CHOSEN: dict[float, dict[str, str]] = {
    0.97: {"scratch": "[8], batches of 32, one thread", "torch": "[16], batches of 32"},
    0.98: {"scratch": "[16], one thread", "torch": "[8, 16], normalized"},
    0.99: {"scratch": "[16, 32], normalized, batches of 64", "torch": "[16, 32], normalized, batches of 64"},
    0.995: {"scratch": "[16, 64]", "torch": "[16, 64]"},
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
    variables = {**os.environ, **THREADS_AND_PRECISION}  # as in a stage: one thread, unless an engine takes more
    environment = {name: value for name, value in variables.items() if value is not None}
    output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    seconds: float | None = json.loads(output)
    return seconds


def seconds_to(engine: str, goal: float, name: str, seed: int, split: str) -> float | None:
    """Train a candidate, evaluate it on a split 20 times, and stop the clock at the goal; None if it is not reached."""
    candidate = CANDIDATES[goal][name]
    config = load_config(Config).torch.updated(**candidate.options, threads=candidate.threads, device="cpu")
    generators = spawn_generators(seed)
    training, evaluated = load_split("train"), load_split(split)
    warm_up = make(engine, config, spawn_generators(seed), UNSTANDARDIZED)
    warm_up.train_batch(training.images[:8], training.labels[:8], 0.0)  # PyTorch's first step imports its compiler
    classifier = make(engine, config, generators, UNSTANDARDIZED)
    total = candidate.images // config.training.batch_size
    schedule = make_schedule(config, total)
    ends = {total * (index + 1) // EVALUATIONS for index in range(EVALUATIONS)}
    seconds, started = 0.0, time.perf_counter()
    augmented_steps = round(total * (1 - candidate.undistorted))
    for step, batch in enumerate(islice(batches(training, config, generators, augmented_steps), total)):
        classifier.train_batch(batch.images, batch.labels, schedule(step))
        if step + 1 in ends:
            seconds += time.perf_counter() - started
            if accuracy(predict_in_batches(classifier, evaluated.images), evaluated.labels) >= goal:
                return round(seconds, 2)
            started = time.perf_counter()
    return None


def batches(training: Split, config: EngineConfig, generators: Generators, augmented_steps: int) -> Iterator[Split]:
    """Endless epochs of batches, as the training loop makes them."""
    augment = Augmentation(config.augmentation, float(training.images.min())) if config.augmentation.enabled else None
    epochs = iter(lambda: shuffled_batches(training, config.training.batch_size, generators.shuffling), None)
    for step, batch in enumerate(chain.from_iterable(epochs)):
        if augment and step < augmented_steps:
            batch = Split(augment(batch.images, generators.augmentation), batch.labels)
        yield batch


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
