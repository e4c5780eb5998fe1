"""The README's recipes, each with three seeds, written to metrics/recipes.json: ``make recipes``, about an hour."""

import json
import shlex
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.experiments import SEEDS, read, run, setting, summary

RESULTS = Path("metrics/recipes.json")


class Recipe(NamedTuple):
    """One engine's training, by what differs from params.yaml."""

    title: str
    engine: str
    changes: dict[str, object]

    def options(self) -> dict[str, object]:
        """The changes by their full names."""
        return {f"train_{self.engine}.{name}": value for name, value in self.changes.items()}

    def command(self) -> str:
        """What a user types."""
        return " ".join(["dvc exp run", *(f"-S {shlex.quote(setting(*option))}" for option in self.options().items())])


# What differs was chosen by validation accuracy and loss, in runs with other seeds.
SHARED: dict[str, object] = {"batch_norm": True, "augment": True, "ema": 0.999, "threads": 2}
LARGER_BATCH: dict[str, object] = {"batch_size": 128, "learning_rate": 0.004}
DENSE: dict[str, object] = {"hidden": [512, 256], **SHARED, "epochs": 30}
CONVOLUTIONAL: dict[str, object] = {"channels": [32, 64], "hidden": [128], **SHARED, **LARGER_BATCH, "epochs": 15}
BEST: dict[str, object] = {**CONVOLUTIONAL, "hidden": [256], "dropout": 0.3, "epochs": 40}

RECIPES = {
    "dense-scratch": Recipe("NumPy, dense, distorted digits", "scratch", DENSE),
    "convolutional-scratch": Recipe("NumPy, convolutional", "scratch", CONVOLUTIONAL),
    "best-scratch": Recipe("NumPy, the most accurate", "scratch", BEST),
    "dense-torch": Recipe("PyTorch, dense, distorted digits", "torch", DENSE),
    "convolutional-torch": Recipe("PyTorch, convolutional", "torch", CONVOLUTIONAL),
}


def main() -> None:
    """Run the recipes that are named, or all; write each one's accuracies and minutes as soon as it has them."""
    for name in sys.argv[1:] or RECIPES:
        recipe = RECIPES[name]
        runs = [f"{name}-{seed}" for seed in SEEDS]
        for seed, experiment in zip(SEEDS, runs, strict=True):
            run(experiment, {"seed": seed, **recipe.options()}, f"evaluate@{recipe.engine}")
        seconds = [read(experiment, f"metrics/timing_{recipe.engine}.json")["train_seconds"] for experiment in runs]
        accuracies = [read(experiment, f"metrics/{recipe.engine}.json")["accuracy"] for experiment in runs]
        results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        minutes = round(statistics.median(seconds) / 60, 2)
        results[name] = {"command": recipe.command(), **summary(accuracies), "minutes": minutes}
        RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        print(json.dumps(results[name], indent=2), flush=True)


if __name__ == "__main__":
    main()
