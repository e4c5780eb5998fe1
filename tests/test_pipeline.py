"""The whole pipeline, run by the real DVC in a copy of the project on a few hundred synthetic images."""

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML

from stages.tools.reproduce import remove_results
from tests.imports import ROOT
from tests.project import ENGINES, Project, stages_run

DVC = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")
ALL_STAGES = [
    f"{name}@{engine}" if engine else name
    for name, stage in DVC["stages"].items()
    for engine in stage.get("foreach", [""])
]
AFTER_SCRATCH = ["train_scratch", "evaluate@scratch", "compare", "plot"]


def load(project: Project, path: str) -> Any:
    return np.load(io.BytesIO(project.read(path)), allow_pickle=False)


def from_cache(output: str) -> list[str]:
    """The stages whose outputs DVC says it took from its run cache."""
    return sorted(re.findall(r"^Stage '(.+)' is cached - skipping run, checking out outputs", output, re.MULTILINE))


def test_repro_runs_every_stage_and_each_says_what_it_does(finished: Project) -> None:
    output = (finished.folder.parent / "output.txt").read_text(encoding="utf-8")
    assert sorted(stages_run(output)) == sorted(ALL_STAGES)
    assert all(stage.get("do", stage)["desc"] for stage in DVC["stages"].values())


def test_splits_are_stratified_standardized_and_complete(finished: Project) -> None:
    raw = {
        split: np.frombuffer(finished.read(f"data/raw/{name}-images-idx3-ubyte"), np.uint8, offset=16).reshape(-1, 784)
        for split, name in (("train", "train"), ("test", "t10k"))
    }
    standardization = finished.load_json("data/processed/standardization.json")
    sizes = {"train": 340, "validation": 60, "test": 200}
    seen: dict[str, list[bytes]] = {}
    for split, size in sizes.items():
        images = load(finished, f"data/processed/{split}_images.npy")
        labels = load(finished, f"data/processed/{split}_labels.npy")
        assert (images.dtype, images.shape) == (np.float32, (size, 28, 28))
        assert (labels.dtype, labels.shape) == (np.int64, (size,))
        assert set(labels) == set(range(10))
        pixels = (images * standardization["std"] + standardization["mean"]) * 255
        seen[split] = [np.rint(image).astype(np.uint8).tobytes() for image in pixels]
    assert sorted(seen["train"] + seen["validation"]) == sorted(image.tobytes() for image in raw["train"])
    assert seen["test"] == [image.tobytes() for image in raw["test"]]
    train = load(finished, "data/processed/train_images.npy").astype(np.float64)
    assert (train.mean(), train.std()) == pytest.approx((0, 1), abs=1e-4)
    counts = [np.bincount(load(finished, f"data/processed/{split}_labels.npy")) for split in ("train", "validation")]
    assert np.abs(counts[1] - sum(counts) * 60 / 400).max() < 1


@pytest.mark.parametrize("engine", ENGINES)
def test_metrics_and_tables_follow_from_the_predictions(finished: Project, engine: str) -> None:
    probabilities = load(finished, f"data/predictions/{engine}.npy")
    labels = load(finished, "data/processed/test_labels.npy")
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (200, 10))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    metrics = finished.load_json(f"metrics/{engine}.json")
    predicted = probabilities.argmax(axis=1)
    right = predicted == labels
    assert metrics["dataset"] == "synthetic"
    assert metrics["accuracy"] == pytest.approx(right.mean())
    assert metrics["error_rate"] == pytest.approx(1 - right.mean())
    assert metrics["accuracy_low"] < metrics["accuracy"] < metrics["accuracy_high"]
    assert metrics["loss"] == pytest.approx(-np.log(probabilities[np.arange(200), labels]).mean(), rel=1e-5)
    assert 0 < metrics["macro_f1"] < 1
    assert 0 < metrics["calibration_error"] < 1
    assert metrics["parameters"] == 784 * 16 + 16 + 16 * 10 + 10
    assert metrics["per_class"] == [pytest.approx(right[labels == label].mean(), rel=1e-5) for label in range(10)]
    confusion = pd.read_csv(finished.folder / f"plots/{engine}/confusion.csv")
    assert len(confusion) == 100
    for actual, other, count in confusion[["actual", "predicted", "count"]].itertuples(index=False):
        assert count == np.sum((labels == actual) & (predicted == other))
    classes = pd.read_csv(finished.folder / f"plots/{engine}/classes.csv", index_col="class")
    assert classes["recall"].to_dict() == dict(enumerate(metrics["per_class"]))
    assert classes["f1"].mean() == pytest.approx(metrics["macro_f1"], rel=1e-5)
    mistakes = pd.read_csv(finished.folder / f"plots/{engine}/mistakes.csv")
    assert mistakes["index"].tolist() == np.flatnonzero(~right).tolist()
    confusions = pd.read_csv(finished.folder / f"plots/{engine}/confusions.csv")
    assert len(confusions) == 10
    assert confusions["count"].is_monotonic_decreasing
    assert confusions["count"][0] == confusion["count"][confusion["actual"] != confusion["predicted"]].max()


def test_the_comparison_follows_from_the_predictions(finished: Project) -> None:
    labels = load(finished, "data/processed/test_labels.npy")
    torch_right, scratch_right = (
        load(finished, f"data/predictions/{engine}.npy").argmax(axis=1) == labels for engine in ENGINES
    )
    metrics = finished.load_json("metrics/comparison.json")
    assert metrics["accuracy_difference"] == pytest.approx(torch_right.mean() - scratch_right.mean())
    assert metrics["accuracy_difference_low"] < metrics["accuracy_difference"] < metrics["accuracy_difference_high"]
    assert metrics["both_wrong"] == np.sum(~torch_right & ~scratch_right)
    assert 0 <= metrics["mcnemar_p"] <= 1
    assert 0 <= metrics["agreement"] <= 1


def test_the_summary_names_the_validation_metrics_of_the_kept_epoch_before_the_test_accuracy(finished: Project) -> None:
    for engine in ENGINES:
        history = pd.read_csv(finished.folder / f"plots/{engine}/history.csv")
        kept = history.sort_values(["validation_accuracy", "validation_loss"], ascending=[False, True]).iloc[0]
        assert list(finished.load_json("metrics/summary.json")[engine].items()) == [
            ("val", kept["validation_accuracy"]),
            ("val_loss", pytest.approx(kept["validation_loss"], rel=1e-5)),
            ("test", finished.load_json(f"metrics/{engine}.json")["accuracy"]),
        ]


def test_equal_networks_have_equal_losses_in_both_engines_until_rounding_parts_them(finished: Project) -> None:
    losses, metrics = pd.read_csv(finished.folder / "plots/parity.csv"), finished.load_json("metrics/parity.json")
    assert losses["step"].tolist() == list(range(1, 301))
    assert losses["torch_float64"][299] < losses["torch_float64"][0] / 2, "hardly trained: it would say little"
    for dtype, first, last in (("float32", 1e-5, 0.5), ("float64", 1e-12, 1e-6)):
        difference = (losses[f"scratch_{dtype}"] / losses[f"torch_{dtype}"] - 1).abs()
        assert difference[0] < first
        assert difference.max() < last
        for steps in (1, 50, 300):
            assert metrics[dtype][str(steps)] == pytest.approx(difference[:steps].max(), rel=0.1)


@pytest.mark.parametrize("engine", ENGINES)
def test_history_has_a_row_for_each_epoch(finished: Project, engine: str) -> None:
    history = pd.read_csv(finished.folder / f"plots/{engine}/history.csv")
    split_columns = [f"{split}_{name}" for split in ("train", "validation") for name in ("loss", "accuracy")]
    assert list(history) == ["epoch", "learning_rate", *split_columns]
    assert history["epoch"].tolist() == [1]


def test_models_are_plain_arrays_from_which_a_hand_written_network_predicts_the_same(finished: Project) -> None:
    state = torch.load(finished.folder / "models/torch/mnist_model.pth", weights_only=True)
    weights = dict(load(finished, "models/scratch/model.npz"))
    metadata = {
        "torch": state._metadata[""],
        "scratch": {"network": json.loads(str(weights.pop("network")))}
        | {name: float(weights.pop(name)) for name in ("pixel_mean", "pixel_std")},
    }
    states = {"torch": state, "scratch": {name: torch.from_numpy(array) for name, array in weights.items()}}
    pixels = finished.load_json("data/processed/standardization.json")
    images = torch.from_numpy(load(finished, "data/processed/test_images.npy"))
    expected = {"channels": [], "hidden_sizes": [16], "activation": "relu", "batch_norm": False, "dropout": 0.0}
    for engine in ENGINES:
        assert expected.items() <= metadata[engine]["network"].items()
        assert (metadata[engine]["pixel_mean"], metadata[engine]["pixel_std"]) == (pixels["mean"], pixels["std"])
        network = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(784, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10)
        )
        network.load_state_dict(states[engine])
        probabilities = torch.softmax(network(images), dim=1).detach().numpy()
        np.testing.assert_allclose(
            load(finished, f"data/predictions/{engine}.npy"), probabilities, rtol=1e-4, atol=1e-7
        )


def test_a_second_repro_does_nothing_and_says_so(project: Project) -> None:
    output = project.dvc("repro")
    assert stages_run(output) == []
    assert "Data and pipelines are up to date." in output


def test_the_run_cache_has_every_stage_but_fetch(project: Project) -> None:
    """Without the record of the last run and without its outputs, no stage runs: all come out of the cache."""
    before = project.outputs()
    remove_results(project.folder)
    output = project.dvc("repro")
    assert stages_run(output) == ["fetch"]
    assert from_cache(output) == sorted(set(ALL_STAGES) - {"fetch"})
    assert project.outputs() == before


def test_a_parameter_that_is_changed_and_changed_back_costs_no_second_training(project: Project) -> None:
    before = project.outputs()
    output = project.dvc("exp", "run", "--set-param", "+scratch.optimizer.learning_rate=0.01", "compare")
    assert stages_run(output) == ["train_scratch", "evaluate@scratch", "compare"]
    assert re.search(r"scratch\.optimizer\.learning_rate +\S+ +0\.01", project.dvc("params", "diff"))
    assert project.outputs() != before
    project.run("git", "checkout", "--quiet", "params.yaml")
    output = project.dvc("repro")
    assert stages_run(output) == []
    assert from_cache(output) == ["compare", "evaluate@scratch", "train_scratch"]
    assert project.outputs() == before
    assert project.status() == ""


def stale(project: Project) -> list[str]:
    """The stages that the next `dvc repro` would begin with."""
    return sorted(json.loads(project.dvc("status", "--json")))


def test_code_and_parameters_make_stale_what_depends_on_them_and_nothing_else(project: Project) -> None:
    """Of the parameters those that both engines share, of the code what only evaluates, and notes."""

    def append(path: Path) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write("\n# a comment\n")

    notes = sorted((project.folder / "stages").rglob("*.md"))
    assert notes
    for path in notes:
        append(path)
    assert stale(project) == []
    append(project.folder / "stages/evaluation/figures/weights.py")
    append(project.folder / "stages/evaluation/metrics.py")
    assert stale(project) == ["compare", "evaluate@scratch", "evaluate@torch", "plot"]
    project.run("git", "checkout", "--quiet", ".")
    project.set({"network.batch_norm": "true"})
    assert stale(project) == ["train_scratch", "train_torch"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "rerun"),
    [
        ("network.batch_norm=true", [stage for stage in ALL_STAGES if stage not in ("fetch", "preprocess", "parity")]),
        ("+scratch.optimizer.learning_rate=0.01", AFTER_SCRATCH),
        ("~scratch.network", AFTER_SCRATCH),
        ("preprocess.validation_size=50", [stage for stage in ALL_STAGES if stage != "fetch"]),
    ],
)
def test_a_changed_parameter_reruns_what_depends_on_it(project: Project, change: str, rerun: list[str]) -> None:
    if change == "~scratch.network":
        project.set({"scratch.network.hidden_sizes": "[8]"})
        project.commit("Unequal networks")
    before = project.outputs()
    assert sorted(stages_run(project.dvc("exp", "run", "--set-param", change))) == sorted(rerun)
    assert "metrics/summary.json" in project.dvc("metrics", "diff", "--all")
    assert project.outputs() != before


@pytest.fixture(scope="module")
def clone(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return finished.clone(tmp_path_factory.mktemp("clone") / "project")


def test_a_fresh_clone_without_a_remote_shows_metrics_and_plots(clone: Project) -> None:
    assert "metrics/summary.json" in clone.dvc("metrics", "show")
    page = clone.dvc("plots", "show").strip().removeprefix("file://")
    html = Path(page).read_text(encoding="utf-8")
    assert "validation_loss" in html
    assert html.count("<img") == len(list((clone.folder / "plots/images").glob("*.png"))) > 3
    assert clone.status() == ""


def test_the_documentation_shows_the_graph_that_dvc_draws(clone: Project) -> None:
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "stages/README.md"))
    assert clone.dvc("dag", "--md").strip() in text


def test_a_bad_parameter_stops_with_one_line_before_any_work(project: Project) -> None:
    project.set({"optimizer.learning_rate": "-0.1"})
    before = project.outputs()
    result = project.run("python", "-m", "stages.train", "scratch", check=False)
    assert result.returncode == 1
    assert result.stdout == "error: optimizer.learning_rate: must be > 0, got -0.1\n"
    assert project.outputs() == before


@pytest.mark.parametrize("engine", ["scratch", pytest.param("torch", marks=pytest.mark.slow)])
def test_divergence_says_where_and_leaves_no_model(project: Project, engine: str) -> None:
    project.set({"optimizer.learning_rate": "1000000", "optimizer.name": "sgd", "optimizer.schedule": "constant"})
    result = project.run("dvc", "repro", f"train_{engine}", check=False)
    assert result.returncode != 0
    assert re.search(r"^error: the loss is (nan|inf) in epoch 1 at (step \d+ of 22|its end), with", result.stdout, re.M)
    assert "Traceback" not in result.stdout
    assert "Warning" not in result.stdout
    assert not [path for path in (project.folder / "models" / engine).iterdir() if path.name != ".gitignore"]
