"""Train with several seeds and write what came out to metrics/seeds.json: ``make seeds``.

Each seed is an experiment of DVC's in a folder of its own, so the workspace stays as it is, and a run that DVC's cache
already holds is not repeated.
"""

import json
import statistics
import subprocess
from pathlib import Path

import dvc.api

SEEDS = (1, 2, 3)
ENGINES = ("torch", "scratch")


def main() -> None:
    """Run the seeds one by one; write each engine's test accuracies, their mean and their standard deviation."""
    for seed in SEEDS:
        subprocess.run(["dvc", "exp", "remove", f"seed-{seed}"], capture_output=True)  # of an earlier call, if any
        command = ["dvc", "exp", "run", "--temp", "--name", f"seed-{seed}", "--set-param", f"seed={seed}"]
        subprocess.run(command, check=True)
    results: dict[str, object] = {"seeds": SEEDS}
    for engine in ENGINES:
        accuracies = [
            json.loads(dvc.api.read(f"metrics/{engine}.json", rev=f"seed-{seed}"))["accuracy"] for seed in SEEDS
        ]
        results[engine] = {
            "accuracies": accuracies,
            "mean": round(statistics.mean(accuracies), 6),
            "standard_deviation": round(statistics.stdev(accuracies), 6),
        }
    Path("metrics/seeds.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
