"""The README's recipes, each with three seeds, written to metrics/recipes.json: ``make recipes``, about an hour."""

import json
import re
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.experiments import ENGINES, read, run, setting, summary
from tests.benchmarks.experiments import SEEDS as ALL_SEEDS

SEEDS = ALL_SEEDS[:3]
RESULTS = Path("metrics/recipes.json")
ONE_NETWORK = "~scratch.network"  # without its override, the NumPy engine trains the shared network too


class Recipe(NamedTuple):
    """A training of both engines, by what differs from params.yaml."""

    title: str
    options: dict[str, object]

    def command(self) -> str:
        """What a user types."""
        options = [ONE_NETWORK, *(setting(*option) for option in self.options.items())]
        return " ".join(["dvc exp run", *(f"-S {shlex.quote(option)}" for option in options)])


# Chosen by validation accuracy and loss, in runs with other seeds.
SHARED: dict[str, object] = {
    "network.batch_norm": True,
    "optimizer.ema_decay": 0.999,
    "augmentation.enabled": True,
    "torch.threads": 2,
    "scratch.threads": 2,
}
LARGER_BATCH: dict[str, object] = {"training.batch_size": 128, "optimizer.learning_rate": 0.004}
CONVOLUTIONAL = {"network.channels": [32, 64], "network.hidden_sizes": [128], **SHARED, **LARGER_BATCH}

RECIPES = {
    "dense": Recipe("dense, augmented images", {**SHARED, "training.epochs": 30}),
    "convolutional": Recipe("convolutional", {**CONVOLUTIONAL, "training.epochs": 15}),
    "best": Recipe(
        "the most accurate",
        {**CONVOLUTIONAL, "network.hidden_sizes": [256], "network.dropout": 0.3, "training.epochs": 40},
    ),
}


def main() -> None:
    """Run the recipes that are named, or all; write each one's accuracies and minutes as soon as it has them."""
    for name in sys.argv[1:] or RECIPES:
        recipe = RECIPES[name]
        outputs = [
            run(f"{name}-{seed}", {"seed": seed, **recipe.options}, "evaluate", deleted=[ONE_NETWORK]) for seed in SEEDS
        ]
        results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        results["commit"] = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], text=True).strip()
        results[name] = {"command": recipe.command()}
        for engine in ENGINES:
            accuracies = [read(f"{name}-{seed}", f"metrics/{engine}.json")["accuracy"] for seed in SEEDS]
            results[name][engine] = {**summary(accuracies), "minutes": minutes(engine, outputs)}
        RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        print(json.dumps(results[name], indent=2), flush=True)


def minutes(engine: str, outputs: list[str]) -> float | None:
    """The median training time of the runs; None where DVC took every model from its cache."""
    found = re.findall(rf"^{engine}: .*trained in ([\d.]+) s", "\n".join(outputs), re.MULTILINE)
    return round(statistics.median(map(float, found)) / 60, 2) if found else None


if __name__ == "__main__":
    main()
