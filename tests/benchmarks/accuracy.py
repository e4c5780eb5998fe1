"""Seconds of training until 97, 98 and 99 % of the test images are right, for both engines; part of ``make bench``."""

import json
import subprocess
import sys
import time

import numpy as np

from stages.engines import make
from stages.engines.config import Config, EngineConfig
from stages.pipeline.classifier import UNSTANDARDIZED, Classifier, predict_in_batches
from stages.pipeline.metrics import accuracy
from stages.pipeline.params import load_config
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import Split, load_split
from stages.training.batches import shuffled_batches, steps_per_epoch
from stages.training.schedules import make_schedule

THREADS, EVERY = 2, 50  # steps between two evaluations on the test split, for which the clock stops
# For each accuracy, a network and a number of epochs that reach it.
GOALS: dict[float, tuple[dict[str, list[int]], int]] = {
    0.97: ({"channels": [], "hidden_sizes": [128, 64]}, 2),
    0.98: ({"channels": [], "hidden_sizes": [128, 64]}, 6),
    0.99: ({"channels": [16, 32], "hidden_sizes": [128]}, 3),
}


def seconds_to_accuracies() -> dict[str, dict[str, float | None]]:
    """Each engine's seconds for each accuracy, in a process of its own; None where it does not get there."""
    results: dict[str, dict[str, float | None]] = {}
    for goal in GOALS:
        for engine in ("scratch", "torch"):
            command = [sys.executable, "-m", "tests.benchmarks.accuracy", engine, str(goal)]
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            seconds: float | None = json.loads(output)
            results.setdefault(engine, {})[f"{goal:.0%}"] = seconds
            reached = f"after {seconds:.1f} s" if seconds else "not reached"
            print(f"{engine}: {goal:.0%} of the test images {reached}, {THREADS} threads", flush=True)
    return results


def seconds_to(engine: str, goal: float) -> float | None:
    """Train with the committed optimizer but for the network and its epochs, and stop the clock at the goal."""
    params = load_config(Config)
    network, epochs = GOALS[goal]
    config = params.torch.updated(network=network, training={"epochs": epochs}, threads=THREADS, device="cpu")
    generators = spawn_generators(params.seed)
    classifier = make(engine, config, generators, UNSTANDARDIZED)
    return _run(classifier, config, load_split("train"), load_split("test"), generators.shuffling, goal)


def _run(
    classifier: Classifier,
    config: EngineConfig,
    training: Split,
    test: Split,
    shuffling: np.random.Generator,
    goal: float,
) -> float | None:
    epochs, steps = config.training.epochs, steps_per_epoch(training, config.training.batch_size)
    schedule, seconds, step = make_schedule(config, steps), 0.0, 0
    for _ in range(epochs):
        started = time.perf_counter()
        for batch in shuffled_batches(training, config.training.batch_size, shuffling):
            classifier.train_batch(batch.images, batch.labels, schedule(step))
            step += 1
            if step % EVERY == 0 or step == epochs * steps:
                seconds += time.perf_counter() - started
                if accuracy(predict_in_batches(classifier, test.images), test.labels) >= goal:
                    return round(seconds, 2)
                started = time.perf_counter()
        seconds += time.perf_counter() - started
    return None


if __name__ == "__main__":
    print(json.dumps(seconds_to(sys.argv[1], float(sys.argv[2]))))
