"""Train the same small network in both engines and compare their losses: ``python -m stages.parity``.

Equal initial weights, batches and learning rate: until rounding parts them, the two losses are the same number.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.engines import make
from stages.engines.config import NetworkConfig, OptimizerConfig, TorchConfig
from stages.pipeline.classifier import UNSTANDARDIZED
from stages.pipeline.config import BaseConfig
from stages.pipeline.files import write_csv, write_json
from stages.pipeline.params import load_config
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import Split, load_split
from stages.pipeline.stage import run
from stages.training.batches import shuffled_batches

CONFIG = TorchConfig(
    network=NetworkConfig(hidden_sizes=[32, 16]),
    optimizer=OptimizerConfig(name="adamw", learning_rate=0.003, weight_decay=0.1),
)
STEPS, REPORTED_STEPS = 300, (1, 50, 300)
ENGINES, DTYPES = ("torch", "scratch"), ("float32", "float64")


def main() -> None:
    """Write plots/parity.csv, the loss of every step, and metrics/parity.json, the largest relative differences."""
    seed, training = load_config(BaseConfig).seed, load_split("train")
    print(f"training {STEPS} steps in each of {' and '.join(ENGINES)}, in {' and '.join(DTYPES)}", flush=True)
    losses = {f"{engine}_{dtype}": step_losses(engine, dtype, training, seed) for dtype in DTYPES for engine in ENGINES}
    rows = zip(range(1, STEPS + 1), *(column.tolist() for column in losses.values()), strict=True)
    write_csv(Path("plots/parity.csv"), ("step", *losses), rows)
    metrics = {}
    for dtype in DTYPES:
        torch, scratch = (losses[f"{engine}_{dtype}"] for engine in ENGINES)
        difference = np.abs(scratch - torch) / torch
        metrics[dtype] = {str(steps): float(f"{difference[:steps].max():.2g}") for steps in REPORTED_STEPS}
        print(f"{dtype}: the losses differ by at most {difference.max():.1e} of their value in {STEPS} steps")
    write_json(Path("metrics/parity.json"), metrics)


def step_losses(engine: str, dtype: str, training: Split, seed: int) -> NDArray[np.float64]:
    """The training loss before each step, float64 (STEPS,)."""
    generators = spawn_generators(seed)
    classifier = make(engine, CONFIG, generators, UNSTANDARDIZED, dtype)
    batches = islice(endless_batches(training, generators.shuffling), STEPS)
    rate = CONFIG.optimizer.learning_rate
    return np.array([classifier.train_batch(batch.images.astype(dtype), batch.labels, rate) for batch in batches])


def endless_batches(split: Split, generator: np.random.Generator) -> Iterator[Split]:
    """Epoch after epoch of shuffled batches."""
    while True:
        yield from shuffled_batches(split, CONFIG.training.batch_size, generator)


if __name__ == "__main__":
    run(main)
