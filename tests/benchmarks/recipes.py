"""The README's recipes, each with five seeds, written to metrics/recipes.json: ``make recipes``, hours.

``make recipes RECIPES="dense best@torch"`` runs both engines' dense recipe and PyTorch's most accurate one.
"""

import hashlib
import json
import re
import shlex
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dvc.api
import numpy as np
from ruamel.yaml import YAML

from stages.engines.config import SHARED as SHARED_SECTIONS
from stages.pipeline.metrics import accuracy
from tests.benchmarks import recipe_mistakes
from tests.benchmarks.experiments import ENGINES, head_commit, read, read_npy, run, setting, summary
from tests.benchmarks.experiments import SEEDS as ALL_SEEDS

SEEDS = ALL_SEEDS[:5]
RESULTS = Path("metrics/recipes.json")
ONE_NETWORK = "~scratch.network"  # without its override, the NumPy engine trains the shared network too


class Recipe(NamedTuple):
    """A training of both engines, by what differs from params.yaml."""

    title: str
    options: dict[str, object]

    def command(self) -> str:
        """What a user types."""
        options = [ONE_NETWORK, *(setting(*option) for option in self.options.items())]
        return " ".join(["dvc exp run --temp", *(f"-S {shlex.quote(option)}" for option in options)])


# tests/README.md says what was tried, with another seed and on validation images.
SHARED: dict[str, object] = {"network.batch_norm": True, "torch.threads": 2, "scratch.threads": 2}
AUGMENTED = {**SHARED, "optimizer.ema_decay": 0.999, "augmentation.enabled": True}
CONVOLUTIONAL = {
    **AUGMENTED,
    "network.convolutions": 2,
    "network.kernel_size": 3,
    "optimizer.learning_rate": 0.004,
    "training.batch_size": 128,
}
MOST_ACCURATE = "best"
RECIPES = {
    "one-epoch": Recipe(
        "one epoch",
        {
            **SHARED,
            "network.channels": [16, 32],
            "network.hidden_sizes": [],
            "optimizer.learning_rate": 0.01,
            "training.batch_size": 32,
            "training.epochs": 1,
        },
    ),
    "dense": Recipe(
        "dense, augmented images",
        {
            **AUGMENTED,
            "optimizer.learning_rate": 0.003,
            "training.batch_size": 64,
            "training.epochs": 40,
        },
    ),
    "convolutional": Recipe(
        "convolutional",
        {
            **CONVOLUTIONAL,
            "network.channels": [16, 64],
            "network.hidden_sizes": [128],
            "network.dropout": 0.3,
            "training.epochs": 12,
        },
    ),
    MOST_ACCURATE: Recipe(
        "the most accurate",
        {
            **CONVOLUTIONAL,
            "network.channels": [24, 64, 128],
            "network.padding": 1,
            "network.hidden_sizes": [],
            "training.label_smoothing": 0.05,
            "training.epochs": 14,
            "augmentation.shift": 4.0,
            "augmentation.no_aug_epochs": 4,
        },
    ),
}


def main() -> None:
    """Run what is named, or all; write what comes of each as soon as it is there."""
    for name, engine in selected(sys.argv[1:] or list(RECIPES)):
        measured = measure(name, engine)
        results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        results[name] = {"command": RECIPES[name].command(), **merged(results.get(name, {}), engine, measured)}
        RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        print(json.dumps({name: {engine: measured}}, indent=2), flush=True)
        if name == MOST_ACCURATE:
            recipe_mistakes.write_table(engine, {seed: experiment(name, engine, seed) for seed in SEEDS})
            if all(each in results[name] for each in ENGINES):
                networks = len(SEEDS) * len(ENGINES)
                recipe_mistakes.write_figure(experiment(name, engine, SEEDS[0]), networks)


def merged(known: dict[str, Any], engine: str, measured: dict[str, Any]) -> dict[str, Any]:
    """A recipe's results with one engine's new ones; what is known of another config is dropped."""
    kept = {each: known[each] for each in ENGINES if each in known and known[each]["config"] == measured["config"]}
    if measured["seconds"] is None and engine in kept:
        measured = {**measured, "seconds": kept[engine]["seconds"]}
    both = {**kept, engine: measured}
    return {each: both[each] for each in ENGINES if each in both}


def selected(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each recipe with each engine, of arguments such as ``dense`` or ``best@torch``."""
    for argument in arguments:
        name, _, engine = argument.partition("@")
        if name not in RECIPES or engine not in ("", *ENGINES):
            sys.exit(f"error: {argument}: must be one of {', '.join(RECIPES)}, alone or with @{' or @'.join(ENGINES)}")
        yield from ((name, each) for each in ([engine] if engine else ENGINES))


def experiment(name: str, engine: str, seed: int) -> str:
    """The DVC experiment's name."""
    return f"{name}-{engine}-{seed}"


def measure(name: str, engine: str) -> dict[str, Any]:
    """Test accuracies, the median seconds of training, and the accuracy of all five networks' mean probabilities."""
    options = RECIPES[name].options
    experiments = {seed: experiment(name, engine, seed) for seed in SEEDS}
    outputs = [
        run(each, {"seed": seed, **options}, f"evaluate@{engine}", deleted=[ONE_NETWORK])
        for seed, each in experiments.items()
    ]
    labels = read_npy(experiments[SEEDS[0]], "data/processed/test_labels.npy")
    probabilities = np.mean([read_npy(each, f"data/predictions/{engine}.npy") for each in experiments.values()], axis=0)
    return {
        "commit": head_commit(),
        "config": config_hash(dvc.api.read("params.yaml", rev=experiments[SEEDS[0]])),
        **summary([read(each, f"metrics/{engine}.json")["accuracy"] for each in experiments.values()]),
        "seconds": median_seconds(engine, outputs),
        "ensemble": accuracy(probabilities, labels),
    }


def config_hash(params: str) -> str:
    """Tells one params.yaml from another, by what the engines share."""
    content = YAML(typ="safe", pure=True).load(params)
    return hashlib.sha256(json.dumps([content[section] for section in SHARED_SECTIONS]).encode()).hexdigest()[:12]


def median_seconds(engine: str, outputs: Sequence[str]) -> float | None:
    """The median time of the trainings that ran; None where DVC took every model from its run cache."""
    found = re.findall(rf"^{engine}: .*trained in ([\d.]+) s", "\n".join(outputs), re.MULTILINE)
    return statistics.median(map(float, found)) if found else None


if __name__ == "__main__":
    main()
