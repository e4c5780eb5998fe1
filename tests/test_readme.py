"""The README says what the committed metrics say: those in git, for a run on another machine may differ a little."""

import json
import subprocess
from typing import Any

from tests.benchmarks.recipes import RECIPES
from tests.imports import ROOT
from tests.readme import README

ENGINES = ("torch", "scratch")
WRITE_UP = {"torch": 0.9743, "scratch": 0.965}  # the write-up that the project starts from


def metrics(name: str) -> dict[str, Any]:
    committed = subprocess.run(["git", "show", f"HEAD:metrics/{name}.json"], cwd=ROOT, capture_output=True, check=True)
    content: dict[str, Any] = json.loads(committed.stdout)
    return content


def row(title: str, cells: list[str]) -> str:
    return f"| {title} | {' | '.join(cells)} |"


def test_the_table_of_results_is_that_of_the_committed_metrics() -> None:
    both = [metrics(engine) for engine in ENGINES]
    seeds = metrics("seeds")
    timings = [metrics(f"timing_{engine}") for engine in ENGINES]
    rows = [
        row("accuracy (seed 1, committed)", [f"**{m['accuracy']:.2%}**" for m in both]),
        row("95 % interval (Wilson)", [f"{m['accuracy_low']:.2%} to {m['accuracy_high']:.2%}" for m in both]),
        row(
            "mean ± spread over 3 seeds",
            [f"{seeds[e]['mean']:.2%} ± {seeds[e]['standard_deviation']:.2%}" for e in ENGINES],
        ),
        row("the write-up that this project starts from", [f"{WRITE_UP[e]:.2%}" for e in ENGINES]),
        row("loss", [f"{m['loss']:.4f}" for m in both]),
        row("calibration error", [f"{m['calibration_error']:.4f}" for m in both]),
        row("parameters", [f"{m['parameters']:,}" for m in both]),
        row("digits learnt a second", [f"{t['images_per_second']:,}" for t in timings]),
    ]
    missing = [line for line in rows if line not in README]
    assert not missing, "README.md lacks:\n" + "\n".join(missing)


def test_the_comparison_in_words_is_that_of_the_committed_metrics() -> None:
    comparison = metrics("comparison")
    low, high = comparison["accuracy_difference_low"], comparison["accuracy_difference_high"]
    sentence = (
        f"PyTorch's network is ahead by {comparison['accuracy_difference']:.2%} "
        f"(paired 95 % interval {low:.2%} to {high:.2%}, McNemar p = {comparison['mcnemar_p']:.2g}); "
        f"they agree on {comparison['agreement']:.2%} of the digits, and {comparison['both_wrong']} defeat both."
    )
    assert " ".join(sentence.split()) in " ".join(README.split()), f"README.md lacks: {sentence}"


def test_the_runs_with_several_seeds_belong_to_the_committed_run() -> None:
    seeds = metrics("seeds")
    assert seeds["seeds"] == [1, 2, 3]
    for engine in ENGINES:
        assert seeds[engine]["accuracies"][0] == metrics(engine)["accuracy"]


def test_each_recipe_stands_there_with_its_command_and_what_came_of_it() -> None:
    """As `make recipes` wrote it, from the commands that it ran."""
    results = metrics("recipes")
    assert results.keys() == RECIPES.keys()
    section = README.partition("\n## Recipes\n")[2].partition("\n## ")[0]
    for name, recipe in RECIPES.items():
        result = results[name]
        assert result["command"] == recipe.command()
        assert f"$ {recipe.command()}\n" in section
        accuracy = f"{result['mean']:.2%} ± {result['standard_deviation']:.2%}"
        assert row(recipe.title, [accuracy, f"{result['minutes']:.1f}"]) in section
        assert len(result["accuracies"]) == 3
