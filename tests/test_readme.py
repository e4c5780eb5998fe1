"""The READMEs say what the committed metrics say: those in git, for a run on another machine may differ a little."""

import re
from collections.abc import Iterator
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageSequence
from scipy.stats import nct, t

from stages.evaluation.paired import mcnemar_pvalue
from tests.benchmarks.recipe_mistakes import first_seed_mistakes, table_path
from tests.benchmarks.recipes import MOST_ACCURATE, RECIPES
from tests.benchmarks.seeds import SEEDS
from tests.imports import ROOT
from tests.project import ENGINES, Project
from tests.readme import metrics, row, section

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ("README.md", "stages/README.md", "stages/engines/scratch/README.md", "tests/README.md")


def mean_and_std(results: dict[str, Any]) -> str:
    return f"{results['mean']:.2%} ± {results['standard_deviation']:.2%}"


def points(*fractions: float) -> str:
    return " to ".join(f"{100 * fraction:.2f}" for fraction in fractions)


def calibration(metrics: dict[str, Any]) -> str:
    low, high = metrics["calibration_error_low"], metrics["calibration_error_high"]
    return f"{metrics['calibration_error']:.4f} ({low:.4f} to {high:.4f})"


def test_the_readme_is_one_page() -> None:
    assert len(README.splitlines()) <= 150
    assert len(README.split()) <= 1300


def test_the_summary_that_make_shows_begins_with_validation_and_fits_a_screen() -> None:
    assert all(list(engine) == ["val", "val_loss", "test"] for engine in metrics("summary").values())
    assert " dvc metrics show metrics/summary.json\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
    table = Project(ROOT).dvc("metrics", "show", "metrics/summary.json")
    assert max(map(len, table.splitlines())) <= 120


def test_the_table_of_results_is_that_of_the_committed_metrics() -> None:
    both, seeds = [metrics(engine) for engine in ENGINES], metrics("seeds")
    rows = [
        row("accuracy (seed 1, committed)", *(f"**{m['accuracy']:.2%}**" for m in both)),
        row("95 % interval (Wilson)", *(f"{m['accuracy_low']:.2%} to {m['accuracy_high']:.2%}" for m in both)),
        row("mean ± std over 10 seeds", *(mean_and_std(seeds[engine]) for engine in ENGINES)),
        row("expected calibration error, 95 % interval", *map(calibration, both)),
        row("the same if perfectly calibrated", *(f"{m['calibration_error_if_calibrated']:.4f}" for m in both)),
        row("parameters", *(f"{m['parameters']:,}" for m in both)),
    ]
    missing = [line for line in rows if line not in README]
    assert not missing, "README.md lacks:\n" + "\n".join(missing)


def test_the_comparison_in_words_is_that_of_the_committed_metrics() -> None:
    comparison, seeds = metrics("comparison"), metrics("seeds")["difference"]
    trainings, images = (points(*seeds[interval]) for interval in ("over_trainings", "over_images"))
    paired = points(comparison["accuracy_difference_low"], comparison["accuracy_difference_high"])
    sentence = (
        f"Over ten seeds, PyTorch's network is ahead by {points(seeds['mean'])} percentage points on average. "
        f"The 95 % interval is {trainings} for new trainings on these test images, and {images} for new images with "
        f"these networks. With seed 1 alone it is ahead by {points(comparison['accuracy_difference'])} "
        f"(paired interval {paired}, McNemar p = {comparison['mcnemar_p']:.2g}, which "
        f"speak of new images alone); the two agree on {comparison['agreement']:.2%} of the images, "
        f"and both misclassify {comparison['both_wrong']}."
    )
    assert " ".join(sentence.split()) in " ".join(README.split()), f"README.md lacks: {sentence}"


def test_the_runs_with_several_seeds_belong_to_the_committed_run() -> None:
    seeds = metrics("seeds")
    assert seeds["seeds"] == list(range(1, SEEDS + 1))
    for engine in ENGINES:
        assert seeds[engine]["accuracies"][0] == metrics(engine)["accuracy"]


def test_what_the_gate_notices_is_what_the_committed_metrics_give() -> None:
    both = [fractions_of_shut_gates(engine) for engine in ENGINES]
    rows = [row(title, *(f"{100 * each[title]:.0f} %" for each in both)) for title in both[0]]
    torch, scratch = (100 * metrics("seeds")[engine]["standard_deviation"] for engine in ENGINES)
    text = section("stages/README.md", "The gate")
    missing = [each for each in [*rows, f"({torch:.2f} points PyTorch, {scratch:.2f} NumPy)"] if each not in text]
    assert not missing, "stages/README.md lacks:\n" + "\n".join(missing)


def fractions_of_shut_gates(engine: str) -> dict[str, float]:
    """Simulated: the number of mistakes varies as over the seeds, and the gate is shut when McNemar's p < 0.05."""
    seeds, shared = metrics("seeds")[engine], metrics("comparison")["both_wrong"]
    std, generator = seeds["standard_deviation"], np.random.default_rng(0)

    def mistakes(loss: float = 0.0, ancestors: int = 1) -> list[int]:
        rates = generator.normal(1 - seeds["mean"] + loss, std, (50_000, ancestors)).min(axis=1)
        return [max(round(10_000 * rate), shared) for rate in rates.tolist()]

    def shut(before: list[int], after: list[int]) -> float:
        pairs = zip(before, after, strict=True)
        return mean(old < new and mcnemar_pvalue(new - shared, old - shared) < 0.05 for old, new in pairs)

    return {
        "retrained, no better or worse, one ancestor": shut(mistakes(), mistakes()),
        "the same, the best of ten such ancestors": shut(mistakes(ancestors=10), mistakes()),
        "a true loss of 0.2 points, one run": shut(mistakes(), mistakes(0.002)),
        "a true loss of 0.5 points, one run": shut(mistakes(), mistakes(0.005)),
        "a true loss of 0.2 points, over ten seeds": float(nct.sf(t.ppf(0.975, 9), 9, 0.002 / (std * np.sqrt(0.2)))),
    }


def test_equal_networks_train_alike_to_the_precision_that_the_lesson_names() -> None:
    """It starts at the machine epsilon, 1.2e-7 or 2.2e-16, and grows slowly."""
    parity = metrics("parity")
    for dtype, epsilon in (("float32", 1.2e-7), ("float64", 2.2e-16)):
        assert list(parity[dtype]) == ["1", "50", "300"]
        assert parity[dtype]["1"] <= 2 * epsilon
        assert parity[dtype]["1"] <= parity[dtype]["50"] <= parity[dtype]["300"] < 1000 * epsilon


def duration(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


def recipe_row(title: str, results: dict[str, Any]) -> str:
    cells = []
    for engine in ENGINES:
        if result := results.get(engine):
            cells += [mean_and_std(result), f"{result['ensemble']:.2%}", duration(result["seconds"])]
        else:
            cells += ["not yet measured", "", ""]
    return row(title, *cells)


def test_each_recipe_stands_there_with_its_command_and_what_came_of_it() -> None:
    """As `make recipes` wrote it, from the commands that it ran, at the commits that the page names."""
    recipes, text = metrics("recipes"), section("stages/README.md", "Recipes")
    assert recipes.keys() == RECIPES.keys()
    for name, recipe in RECIPES.items():
        assert recipes[name]["command"] == recipe.command()
        assert f"$ {recipe.command()}\n" in text
        assert recipe_row(recipe.title, recipes[name]) in text
    measured = [each[engine] for each in recipes.values() for engine in ENGINES if engine in each]
    assert all(len(each["accuracies"]) == 5 for each in measured)
    commits = list(dict.fromkeys(each["commit"] for each in measured))
    named = re.search(r"Measured at commits? (.*?);", text)
    assert named
    assert re.findall(r"[0-9a-f]{7}", named[1]) == commits


def test_the_mistakes_of_the_most_accurate_recipe_are_those_of_its_tables() -> None:
    recipe = metrics("recipes")[MOST_ACCURATE]
    tables = {engine: pd.read_csv(ROOT / table_path(engine)) for engine in ENGINES}
    for engine, table in tables.items():
        right = [1 - count / 10_000 for count in table.groupby("seed").size()]
        assert right == pytest.approx(recipe[engine]["accuracies"], abs=1e-9)
    shown, wrong = first_seed_mistakes(tables), pd.concat(tables.values()).groupby("index").size()
    both = (shown[list(ENGINES)].ne(shown["actual"], axis=0)).all(axis=1).sum()
    text = " ".join(section("stages/README.md", "Recipes").split())
    assert f"all {len(shown)} test images that the most accurate recipe misclassifies with seed 1, {both} of" in text
    assert f"five seeds in each engine, all misclassify {(wrong == 10).sum()}," in text
    assert f"But {len(wrong)} images are misclassified by at least one network, {(wrong == 1).sum()} of" in text
    means = " and ".join(f"{recipe[engine]['mean']:.2%}" for engine in ENGINES)
    assert f"[recipes](stages/README.md#recipes) go further, to {means}:" in README


def test_99_percent_in_seconds_is_a_command_of_the_readme() -> None:
    torch, scratch = (metrics("recipes")["one-epoch"][engine] for engine in ENGINES)
    assert min(torch["mean"], scratch["mean"]) > 0.99
    times, means, first = (
        [format_(each[key]) for each in (torch, scratch)]
        for key, format_ in (("seconds", duration), ("mean", "{:.2%}".format), ("accuracies", lambda a: f"{a[0]:.2%}"))
    )
    sentence = (
        f"This experiment trains a small convolutional network for one epoch, {times[0]} in PyTorch and {times[1]} in "
        f"NumPy on two threads, to {' and '.join(means)} (means of 5 seeds; seed 1: {' and '.join(first)})"
    )
    assert sentence in " ".join(README.split())
    assert f"$ {RECIPES['one-epoch'].command()}\n" in README


def test_the_tables_of_handwriting_are_those_of_the_committed_metrics() -> None:
    results, text = metrics("handwriting"), section("tests/README.md", "Handwriting")
    missing = [line for line in [*handwriting_rows(results), *postcode_rows(results)] if line not in text]
    assert not missing, "tests/README.md lacks:\n" + "\n".join(missing)


def test_the_sentence_on_pictures_is_that_of_the_committed_metrics() -> None:
    results = metrics("handwriting")
    untouched = " and ".join(f"{results['untouched'][engine]:.1%}" for engine in ENGINES)
    scans, photos = (
        " and ".join(f"{results[s][engine]['accuracy']:.1%}" for engine in ENGINES) for s in ("scan", "photo")
    )
    sentence = f"of 1,000 test digits the networks read {untouched}, drawn as scans {scans}, drawn as photos {photos}"
    assert sentence in " ".join(README.split()), f"README.md lacks: {sentence}"


def handwriting_rows(results: dict[str, Any]) -> Iterator[str]:
    for name, title in {
        "untouched": "1,000 test digits as they are",
        "scikit-learn": "1,797 digits of scikit-learn",
    }.items():
        cells = [cell for engine in ENGINES for cell in (f"{results[name][engine]:.1%}", "")]
        yield row(title, *cells, str(results[name].get("refused", 0)))
    for style in ("scan", "photo", "thin"):
        cells = []
        for result in (results[style][engine] for engine in ENGINES):
            lost, low, high = (f"{100 * result[key]:z.1f}" for key in ("lost", "lost_low", "lost_high"))
            cells += [f"{result['accuracy']:.1%}", f"{lost} ({low} to {high})"]
        yield row(style if style == "thin" else f"{style}s", *cells, str(results[style]["refused"]))
    for ruling, result in results["photo"]["ruling"].items():
        title = f"{result['count']} photos, {'no lines' if ruling == 'none' else ruling} on the paper"
        count = result["count"]
        exact = (round(count * result[engine]) / count for engine in ENGINES)  # the file has four digits
        yield row(title, *(f" | {100 * each:z.1f}" for each in exact), str(result["refused"]))


def postcode_rows(results: dict[str, Any]) -> Iterator[str]:
    for style in ("scan", "photo"):
        for expected in ("five expected", "any number expected"):
            result = results[f"{style} of 5"][expected]
            cells = [f"{result[engine][key]:.1%}" for engine in ENGINES for key in ("digits", "rows")]
            yield row(f"{style}s, {expected}", f"{result['separated']:.0%}", *cells)


def test_the_film_of_the_drawn_page_moves_and_loads_quickly() -> None:
    film = ROOT / "stages/tools/draw/draw.gif"
    assert film.stat().st_size < 400_000
    with Image.open(film) as image:
        assert image.format == "GIF"
        assert len(list(ImageSequence.Iterator(image))) > 10


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?://)([^)]+)\)", text)
    assert links
    for link in links:
        file, _, anchor = link.partition("#")
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), link
        titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        assert not anchor or anchor in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
