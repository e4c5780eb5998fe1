"""Train with several seeds and write what came out to metrics/seeds.json: ``make seeds``, with SEEDS=30 for more."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_rel

from tests.benchmarks.experiments import ENGINES, Training, outcomes, parser, summary

SEEDS = 10  # that the README tells of
Correct = NDArray[np.bool_]  # (seeds, test images)


def main() -> None:
    """Write each engine's test accuracies, and the difference with both its intervals."""
    arguments = parser(__doc__, SEEDS).parse_args()
    seeds = range(1, arguments.seeds + 1)
    trainings = [Training(f"seed-{seed}-{engine}", engine, {"seed": seed}) for engine in ENGINES for seed in seeds]
    found = outcomes(trainings, arguments.address)
    rows = np.array([each.probabilities.argmax(axis=1) == each.labels for each in found])
    correct = rows.reshape(len(ENGINES), len(seeds), -1)
    results: dict[str, object] = {"seeds": list(seeds)}
    for engine, each in zip(ENGINES, correct, strict=True):
        results[engine] = summary([float(accuracy) for accuracy in each.mean(axis=1)])
    results["difference"] = difference(dict(zip(ENGINES, correct, strict=True)))
    Path("metrics/seeds.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=2))


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
