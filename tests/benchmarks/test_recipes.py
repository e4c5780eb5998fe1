"""How `make recipes` picks what to run, and what it shows of the mistakes that remain."""

import numpy as np
import pandas as pd
import pytest

from tests.benchmarks.recipes import RECIPES, SEEDS, minutes, selected
from tests.benchmarks.remaining import answers, draw

TORCH = pd.DataFrame({"seed": [1, 1, 2, 3], "index": [4, 7, 7, 9], "actual": [2, 5, 5, 1], "predicted": [3, 6, 8, 7]})
SCRATCH = pd.DataFrame({"seed": [1, 2, 1], "index": [7, 7, 11], "actual": [5, 5, 0], "predicted": [8, 6, 4]})


def test_recipes_are_picked_whole_or_by_engine() -> None:
    assert list(selected(["dense", "best@torch"])) == [("dense", "torch"), ("dense", "scratch"), ("best", "torch")]
    assert len(list(selected(list(RECIPES)))) == 2 * len(RECIPES)
    with pytest.raises(SystemExit, match=r"best@jax: must be one of .*dense, .* alone or with @torch or @scratch"):
        list(selected(["best@jax"]))


def test_the_minutes_are_the_median_of_the_trainings_that_ran() -> None:
    outputs = [
        f"torch: kept epoch 1; trained in {seconds} s, 9 images/s\nscratch: trained in 9.0 s" for seconds in (60, 90)
    ]
    assert minutes("torch", [*outputs, "torch: trained in 240.0 s"]) == 1.5
    assert minutes("torch", ["Stage 'train_torch' is cached"]) is None


def test_what_either_engine_gets_wrong_with_the_first_seed_is_shown_the_hardest_first() -> None:
    """Image 9 is wrong with seed 3 alone, and not shown."""
    rows = answers({"torch": TORCH, "scratch": SCRATCH})
    assert rows.reset_index().to_dict("records") == [
        {"index": 7, "actual": 5, "networks": 4, "torch": 6, "scratch": 8},
        {"index": 4, "actual": 2, "networks": 1, "torch": 3, "scratch": 2},
        {"index": 11, "actual": 0, "networks": 1, "torch": 0, "scratch": 4},
    ]
    images = np.random.default_rng(0).random((12, 28, 28), np.float32)
    figure = draw(images, {"torch": TORCH, "scratch": SCRATCH})
    (axis,) = figure.axes
    for image, index in zip(axis.images, (7, 4, 11), strict=True):
        np.testing.assert_array_equal(np.asarray(image.get_array()), images[index])
    texts = [text.get_text() for text in axis.texts]
    assert texts[:4] == ["label 5", "torch 6", "scratch 8", "wrong in 4 of 5"]
    assert [patch.get_linewidth() > 1 for patch in axis.patches] == [True, False, False]
    assert figure.get_suptitle().startswith("All 3 test images")


def test_each_recipe_has_five_seeds() -> None:
    assert SEEDS == (1, 2, 3, 4, 5)
