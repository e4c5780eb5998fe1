"""Train with several seeds and write what came out to metrics/seeds.json: ``make seeds``."""

import json
from pathlib import Path

from tests.benchmarks.experiments import ENGINES, SEEDS, read, run, summary


def main() -> None:
    """Run the seeds one by one; write each engine's test accuracies, their mean and their standard deviation."""
    for seed in SEEDS:
        run(f"seed-{seed}", {"seed": seed})
    results: dict[str, object] = {"seeds": SEEDS}
    for engine in ENGINES:
        results[engine] = summary([read(f"seed-{seed}", f"metrics/{engine}.json")["accuracy"] for seed in SEEDS])
    Path("metrics/seeds.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
