"""Train with ten seeds and write what came out to metrics/seeds.json: ``make seeds``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_rel

from tests.benchmarks.experiments import ENGINES, SEEDS, read, read_csv, run, summary

Correct = NDArray[np.bool_]  # (seeds, test images)


def main() -> None:
    """Run the seeds one by one; write each engine's test accuracies, and the difference with both its intervals."""
    for seed in SEEDS:
        run(f"seed-{seed}", {"seed": seed}, "compare")
    results: dict[str, object] = {"seeds": SEEDS}
    for engine in ENGINES:
        results[engine] = summary([read(f"seed-{seed}", f"metrics/{engine}.json")["accuracy"] for seed in SEEDS])
    results["difference"] = difference(
        {engine: np.array([read_correct(f"seed-{seed}", engine) for seed in SEEDS]) for engine in ENGINES}
    )
    Path("metrics/seeds.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=2))


def read_correct(name: str, engine: str) -> Correct:
    """Whether an experiment's network classifies each test image correctly."""
    mistakes, confusion = (read_csv(name, f"plots/{engine}/{table}.csv") for table in ("mistakes", "confusion"))
    correct: Correct = np.ones(int(confusion["count"].sum()), bool)
    correct[mistakes["index"].to_numpy(int)] = False
    return correct


def difference(correct: Mapping[str, Correct]) -> dict[str, Any]:
    """Mean accuracy(torch) − accuracy(scratch), with two 95 % intervals, each by a paired t-test.

    ``over_trainings`` is what new seeds would give on these test images. ``over_images`` is what new test images would
    give with these networks, from each image's difference between the fractions of networks that are right.
    """
    torch, scratch = (np.asarray(correct[engine], float) for engine in ENGINES)
    intervals = {
        name: ttest_rel(torch.mean(axis), scratch.mean(axis)).confidence_interval(0.95)
        for name, axis in (("over_trainings", 1), ("over_images", 0))
    }
    rounded = {name: [round(float(bound), 6) for bound in interval] for name, interval in intervals.items()}
    return {"mean": round(float(torch.mean() - scratch.mean()), 6), **rounded}


if __name__ == "__main__":
    main()
