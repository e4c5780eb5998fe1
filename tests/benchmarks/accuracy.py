"""Seconds of training until 97, 98 and 99 % of the test digits are right, for both engines; part of ``make bench``."""

import json
import subprocess
import sys
import time

import numpy as np

from stages.pipeline.classifier import Classifier, predict_in_batches
from stages.pipeline.params import TrainingParameters, load_config
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import Split, load_split, shuffled_batches
from stages.training.metrics import accuracy
from stages.training.schedules import make_schedule
from tests.benchmarks.contenders import make_classifier

THREADS, EVERY = 2, 50  # steps between two looks at the test digits, for which the clock stops
# For each accuracy, what gets there: the schedule has so many epochs to fall to its end.
GOALS = {
    0.97: {"channels": [], "hidden": [128, 64], "epochs": 2},
    0.98: {"channels": [], "hidden": [128, 64], "epochs": 6},
    0.99: {"channels": [16, 32], "hidden": [128], "epochs": 3},
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
            print(f"{engine}: {goal:.0%} of the test digits {reached}, {THREADS} threads", flush=True)
    return results


def seconds_to(engine: str, goal: float) -> float | None:
    """Train with the committed settings but for the network and its epochs, and stop the clock at the goal."""
    parameters = load_config()
    settings = parameters.train_scratch.model_copy(update={**GOALS[goal], "initialization": "he_uniform"})
    generators = spawn_generators(parameters.seed)
    classifier = make_classifier(engine, settings, generators, THREADS)
    return _run(classifier, settings, load_split("train"), load_split("test"), generators.shuffling, goal)


def _run(
    classifier: Classifier,
    settings: TrainingParameters,
    training: Split,
    test: Split,
    shuffling: np.random.Generator,
    goal: float,
) -> float | None:
    steps = -(-len(training.labels) // settings.batch_size)
    schedule, seconds, step = make_schedule(settings, steps), 0.0, 0
    for _ in range(settings.epochs):
        started = time.perf_counter()
        for batch in shuffled_batches(training, settings.batch_size, shuffling):
            classifier.train_batch(batch.images, batch.labels, schedule(step))
            step += 1
            if step % EVERY == 0 or step == settings.epochs * steps:
                seconds += time.perf_counter() - started
                if accuracy(predict_in_batches(classifier, test.images), test.labels) >= goal:
                    return round(seconds, 2)
                started = time.perf_counter()
        seconds += time.perf_counter() - started
    return None


if __name__ == "__main__":
    print(json.dumps(seconds_to(sys.argv[1], float(sys.argv[2]))))
