"""How `make recipes` picks what to run and keeps what it measured, and what it shows of the remaining mistakes."""

import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dvc.utils.hydra import apply_overrides

from stages.engines.config import Config
from stages.pipeline.params import load_config
from tests.benchmarks.experiments import Outcome, seconds_of
from tests.benchmarks.recipe_mistakes import draw, first_seed_mistakes
from tests.benchmarks.recipes import RECIPES, config_hash, measure, merged, selected
from tests.imports import ROOT

TORCH = pd.DataFrame({"seed": [1, 1, 2, 3], "index": [4, 7, 7, 9], "actual": [2, 5, 5, 1], "predicted": [3, 6, 8, 7]})
SCRATCH = pd.DataFrame({"seed": [1, 2, 1], "index": [7, 7, 11], "actual": [5, 5, 0], "predicted": [8, 6, 4]})


def test_recipes_are_picked_whole_or_by_engine() -> None:
    assert list(selected(["dense", "best@torch"])) == [("dense", "torch"), ("dense", "scratch"), ("best", "torch")]
    assert len(list(selected(list(RECIPES)))) == 2 * len(RECIPES)
    with pytest.raises(SystemExit, match=r"best@jax: must be one of .*dense, .* alone or with @torch or @scratch"):
        list(selected(["best@jax"]))


@pytest.mark.parametrize("name", RECIPES)
def test_a_command_gives_both_engines_the_same_valid_config(tmp_path: Path, name: str) -> None:
    _, _, *words = shlex.split(RECIPES[name].command().removeprefix("dvc "))
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    apply_overrides(path, [word for word in words if word not in ("-S", "--temp")])
    config = load_config(Config, path)
    shared = config.scratch.model_dump()
    assert shared == {key: config.torch.model_dump()[key] for key in shared}
    for key, value in RECIPES[name].options.items():
        section, _, option = key.partition(".")
        assert value == (shared["threads"] if option == "threads" else shared[section][option])


def test_the_time_is_the_median_of_the_trainings_that_ran() -> None:
    outputs = [f"torch: kept epoch 1; trained in {s} s, 9 images/s\nscratch: trained in 9.0 s" for s in (60, 90)]
    outputs += ["torch: trained in 240.0 s", "Stage 'train_torch' is cached"]
    labels, probabilities = np.arange(10), np.eye(10, dtype=np.float32)
    trained = [
        Outcome((ROOT / "params.yaml").read_text(), probabilities, labels, seconds_of("torch", each))
        for each in outputs
    ]
    assert measure(trained)["seconds"] == 90
    assert measure(trained[-1:] * 2)["seconds"] is None


def test_accuracies_are_those_of_each_network_and_of_their_mean_probabilities() -> None:
    labels = np.array([0, 1, 2, 3])
    one_hot = np.eye(10, dtype=np.float32)
    first, second = one_hot[[0, 1, 2, 9]], one_hot[[0, 1, 8, 8]] * np.float32(0.7) + one_hot[labels] * np.float32(0.3)
    outcomes = [Outcome((ROOT / "params.yaml").read_text(), each, labels, None) for each in (first, second)]
    found = measure(outcomes)
    assert (found["accuracies"], found["ensemble"]) == ([0.75, 0.5], 0.75)


def test_results_of_another_config_are_dropped_and_a_known_time_is_kept() -> None:
    old, new = {"config": "a", "mean": 0.9, "seconds": 7.0}, {"config": "b", "mean": 0.8, "seconds": None}
    assert merged({"scratch": old}, "torch", new) == {"torch": new}
    assert list(merged({"scratch": old}, "torch", {**new, "config": "a"})) == ["torch", "scratch"]
    assert merged({"torch": old}, "torch", {**new, "config": "a"}) == {"torch": {**old, "mean": 0.8}}


def test_a_config_is_another_when_a_shared_value_differs_and_not_for_its_comments() -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert config_hash(text) == config_hash(text.replace("  # pixels\n", "\n").replace("seed: 1", "seed: 2"))
    assert config_hash(text) != config_hash(text.replace("rotation: 7.5", "rotation: 10.0"))


def test_what_either_engine_gets_wrong_with_the_first_seed_is_shown_the_hardest_first() -> None:
    """Image 9 is wrong with seed 3 alone, and not shown."""
    rows = first_seed_mistakes({"torch": TORCH, "scratch": SCRATCH})
    assert rows.reset_index().to_dict("records") == [
        {"index": 7, "actual": 5, "networks": 4, "torch": 6, "scratch": 8},
        {"index": 4, "actual": 2, "networks": 1, "torch": 3, "scratch": 2},
        {"index": 11, "actual": 0, "networks": 1, "torch": 0, "scratch": 4},
    ]
    images = np.random.default_rng(0).random((12, 28, 28), np.float32)
    figure = draw(images, {"torch": TORCH, "scratch": SCRATCH}, 10)
    (axis,) = figure.axes
    for image, index in zip(axis.images, (7, 4, 11), strict=True):
        np.testing.assert_array_equal(np.asarray(image.get_array()), images[index])
    texts = [text.get_text() for text in axis.texts]
    assert texts[:4] == ["label 5", "torch 6", "scratch 8", "wrong in 4 of 10"]
    assert [patch.get_linewidth() > 1 for patch in axis.patches] == [True, False, False]
    assert figure.get_suptitle().startswith("The 3 test images")
