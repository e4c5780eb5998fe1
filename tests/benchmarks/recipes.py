"""The README's recipes, each with several seeds, written to metrics/recipes.json: ``make recipes``, hours.

``make recipes RECIPES="dense best@torch" SEEDS=30`` runs both engines' dense recipe and PyTorch's most accurate one.
"""

import hashlib
import json
import shlex
import statistics
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ruamel.yaml import YAML

from stages.engines.config import SHARED as SHARED_SECTIONS
from stages.pipeline.metrics import accuracy
from stages.tools.cluster.data import fetched
from stages.tools.commands import setting
from tests.benchmarks import recipe_mistakes
from tests.benchmarks.experiments import ENGINES, Outcome, Training, head_commit, outcomes, parser, summary

SEEDS = 5  # that the README tells of
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
    arguments = parser(__doc__, SEEDS)
    arguments.add_argument("recipes", nargs="*", default=list(RECIPES), help=", ".join(RECIPES))
    options = arguments.parse_args()
    chosen, seeds = list(selected(options.recipes)), range(1, options.seeds + 1)
    found = outcomes([training(name, engine, seed) for name, engine in chosen for seed in seeds], options.address)
    for name, engine in chosen:
        trained = list(islice(found, len(seeds)))
        measured = measure(trained)
        results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        results[name] = {"command": RECIPES[name].command(), **merged(results.get(name, {}), engine, measured)}
        RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        print(json.dumps({name: {engine: measured}}, indent=2), flush=True)
        if name == MOST_ACCURATE:
            predicted = zip(seeds, (each.probabilities for each in trained), strict=True)
            recipe_mistakes.write_table(engine, dict(predicted), trained[0].labels)
            if all(each in results[name] for each in ENGINES):
                recipe_mistakes.write_figure(fetched("test")[0] / 255, len(seeds) * len(ENGINES))


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


def training(name: str, engine: str, seed: int) -> Training:
    """A recipe with one engine and seed."""
    return Training(f"{name}-{engine}-{seed}", engine, {"seed": seed, **RECIPES[name].options}, [ONE_NETWORK])


def measure(trained: Sequence[Outcome]) -> dict[str, Any]:
    """Test accuracies, the median seconds of training, and the accuracy of all networks' mean probabilities."""
    probabilities = np.array([each.probabilities for each in trained])
    seconds = [each.seconds for each in trained if each.seconds is not None]
    return {
        "commit": head_commit(),
        "config": config_hash(trained[0].params),
        **summary([round(accuracy(each.probabilities, each.labels), 6) for each in trained]),
        "seconds": statistics.median(seconds) if seconds else None,
        "ensemble": accuracy(probabilities.mean(axis=0), trained[0].labels),
    }


def config_hash(params: str) -> str:
    """Tells one params.yaml from another, by what the engines share."""
    content = YAML(typ="safe", pure=True).load(params)
    return hashlib.sha256(json.dumps([content[section] for section in SHARED_SECTIONS]).encode()).hexdigest()[:12]


if __name__ == "__main__":
    main()
