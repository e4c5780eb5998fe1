"""Where the time of a NumPy training step goes, layer by layer; part of ``make bench``."""

import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from typing import Any

from stages.engines.scratch_engine import make
from stages.pipeline.classifier import UNSTANDARDIZED
from stages.pipeline.rng import spawn_generators
from tests.benchmarks.task import BATCH, Task, config_for, random_split

PASSES = ("forward", "backward_parameters", "backward_input")
STEPS = 100


def print_profile(task: Task) -> None:
    """Print the profile of a network, measured in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.profile", json.dumps(task)]
    print(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout, end="", flush=True)


def profile(task: Task) -> dict[str, float]:
    """Milliseconds of each layer's passes, the loss and the optimizer in the first thread: medians over 100 steps."""
    classifier = make(config_for(task), spawn_generators(0), UNSTANDARDIZED, "float32")
    times: dict[str, list[float]] = defaultdict(list)
    parts: list[tuple[str, object, str]] = [
        (f"{index} {type(layer).__name__}.{name}", layer, name)
        for index, layer in enumerate(classifier.network.layers)
        for name in PASSES
    ]
    parts += [(f"loss.{name}", classifier.losses[0], name) for name in ("forward", "backward")]
    for name, owner, method in [*parts, ("optimizer.step", classifier.optimizer, "step")]:
        setattr(owner, method, timed(getattr(owner, method), times[name]))
    split = random_split(BATCH)
    for _ in range(STEPS):
        classifier.train_batch(split.images, split.labels, 0.001)
    return {name: statistics.median(taken) * 1000 for name, taken in times.items() if taken}


def timed(function: Any, times: list[float]) -> Any:
    """The function, which now notes its seconds."""

    def wrapped(*arguments: Any) -> Any:
        started = time.perf_counter()
        result = function(*arguments)
        times.append(time.perf_counter() - started)
        return result

    return wrapped


if __name__ == "__main__":
    for name, milliseconds in profile(Task(*json.loads(sys.argv[1]))).items():
        print(f"    {name:35} {milliseconds:6.2f} ms")
