"""Time one training step of both engines: ``make bench``.

Each measurement is a process of its own, because the engines' thread pools disturb each other in one; the processes of
the two engines take turns, so that a change of the machine's speed meets both.
"""

import os
import statistics
import subprocess
import sys
import time

import numpy as np

from stages.pipeline.classifier import Classifier

NETWORKS = ([128, 64], [512, 256])
THREADS = (1, 2)
ENGINES = ("torch", "scratch")
ALTERNATIONS = 5
BATCH, STEPS = 64, 200


def main() -> None:
    """Print the median and the range of milliseconds for a step, and NumPy's speed as a multiple of PyTorch's."""
    print(f"load of the machine at the start: {os.getloadavg()[0]:.2f}")
    print("network          threads  torch ms (min-max)   scratch ms (min-max)   scratch is")
    for hidden in NETWORKS:
        for threads in THREADS:
            times: dict[str, list[float]] = {engine: [] for engine in ENGINES}
            for _ in range(ALTERNATIONS):
                for engine in ENGINES:
                    times[engine].append(measure_apart(engine, hidden, threads))
            cells = [f"{statistics.median(t):.2f} ({min(t):.2f}-{max(t):.2f})" for t in times.values()]
            ratio = statistics.median(t / s for t, s in zip(times["torch"], times["scratch"], strict=True))
            name = "-".join(map(str, [784, *hidden, 10]))
            print(f"{name:16} {threads:7}  {cells[0]:20} {cells[1]:22} {ratio:.2f}x as fast")


def measure_apart(engine: str, hidden: list[int], threads: int) -> float:
    """Milliseconds for a step, measured in a process of its own."""
    limits = {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "tests.benchmarks.steps", engine, *map(str, hidden)]
    output = subprocess.run(command, env={**os.environ, **limits}, capture_output=True, text=True, check=True).stdout
    return float(output)


def measure(engine: str, hidden: list[int]) -> float:
    """Milliseconds for a step with AdamW, after a first round that does not count."""
    generator = np.random.default_rng(0)
    classifier = make_classifier(engine, hidden, generator)
    images = generator.normal(size=(BATCH, 28, 28)).astype(np.float32)
    labels = generator.integers(10, size=BATCH)
    for _ in range(2):
        started = time.perf_counter()
        for _ in range(STEPS):
            classifier.train_batch(images, labels, 0.001)
    return (time.perf_counter() - started) / STEPS * 1000


def make_classifier(engine: str, hidden: list[int], generator: np.random.Generator) -> Classifier:
    """The engine's network with AdamW, fused in PyTorch."""
    if engine == "torch":
        from stages.torch_engine.classifier import TorchClassifier

        return TorchClassifier(hidden, generator, optimizer="adamw", weight_decay=0.1)
    from stages.scratch.classifier import ScratchClassifier

    return ScratchClassifier(hidden, generator, optimizer="adamw", weight_decay=0.1)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(measure(sys.argv[1], [int(units) for units in sys.argv[2:]]))
    else:
        main()
