"""The whole pipeline, run by the real DVC in a copy of the project on a few hundred synthetic digits."""

import hashlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from tests.imports import ROOT
from tests.project import Project, copy_project, stages_run
from tests.readme import README

pytestmark = pytest.mark.slow

ENGINES = ("torch", "scratch")
ALL_STAGES = [
    f"{name}@{engine}" if engine else name
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].items()
    for engine in stage.get("foreach", [""])
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after its first `dvc repro`, committed."""
    project = copy_project(tmp_path_factory.mktemp("project"))
    assert sorted(stages_run(project.dvc("repro"))) == sorted(ALL_STAGES)
    project.commit("First run")
    return project


def load(project: Project, path: str) -> Any:
    return np.load(io.BytesIO(project.read(path)), allow_pickle=False)


def metrics(project: Project, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(project.read(f"metrics/{name}.json"))
    return content


def digests(project: Project) -> dict[str, str]:
    """SHA-256 of everything that the pipeline makes, timings apart."""
    made = [path for folder in ("data", "models", "metrics", "plots") for path in (project.folder / folder).rglob("*")]
    return {
        str(path.relative_to(project.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in made
        if path.is_file() and not path.name.startswith("timing_")
    }


def test_splits_are_stratified_standardised_and_complete(project: Project) -> None:
    raw = {
        split: np.frombuffer(project.read(f"data/raw/{name}-images-idx3-ubyte"), np.uint8, offset=16).reshape(-1, 784)
        for split, name in (("train", "train"), ("test", "t10k"))
    }
    standardisation = json.loads(project.read("data/processed/standardisation.json"))
    sizes = {"train": 340, "validation": 60, "test": 200}
    seen: dict[str, list[bytes]] = {}
    for split, size in sizes.items():
        images = load(project, f"data/processed/{split}_images.npy")
        labels = load(project, f"data/processed/{split}_labels.npy")
        assert (images.dtype, images.shape) == (np.float32, (size, 28, 28))
        assert (labels.dtype, labels.shape) == (np.int64, (size,))
        assert set(labels) == set(range(10))
        pixels = (images * standardisation["std"] + standardisation["mean"]) * 255
        seen[split] = [np.rint(image).astype(np.uint8).tobytes() for image in pixels]
    assert sorted(seen["train"] + seen["validation"]) == sorted(image.tobytes() for image in raw["train"])
    assert seen["test"] == [image.tobytes() for image in raw["test"]]
    train = load(project, "data/processed/train_images.npy").astype(np.float64)
    assert (train.mean(), train.std()) == pytest.approx((0, 1), abs=1e-4)
    shares = [np.bincount(load(project, f"data/processed/{split}_labels.npy")) for split in ("train", "validation")]
    assert np.abs(shares[1] - sum(shares) * 60 / 400).max() < 1


@pytest.mark.parametrize("engine", ENGINES)
def test_metrics_follow_from_the_predictions(project: Project, engine: str) -> None:
    probabilities = load(project, f"data/predictions/{engine}.npy")
    labels = load(project, "data/processed/test_labels.npy")
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (200, 10))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    values = metrics(project, engine)
    right = probabilities.argmax(axis=1) == labels
    assert values["dataset"] == "synthetic"
    assert values["accuracy"] == pytest.approx(right.mean())
    assert values["error_rate"] == pytest.approx(1 - right.mean())
    assert values["accuracy_low"] < values["accuracy"] < values["accuracy_high"]
    assert values["loss"] == pytest.approx(-np.log(probabilities[np.arange(200), labels]).mean(), rel=1e-5)
    assert 0 < values["macro_f1"] < 1
    assert 0 < values["calibration_error"] < 1
    assert values["parameters"] == 784 * 16 + 16 + 16 * 10 + 10
    assert values["per_class"] == {
        str(digit): pytest.approx(right[labels == digit].mean(), rel=1e-5) for digit in range(10)
    }
    confusion = pd.read_csv(project.folder / f"plots/{engine}/confusion.csv")
    for actual, predicted, count in confusion.itertuples(index=False):
        assert count == np.sum((labels == actual) & (probabilities.argmax(axis=1) == predicted))
    assert len(confusion) == 100
    classes = pd.read_csv(project.folder / f"plots/{engine}/classes.csv", index_col="class")
    assert classes["recall"].to_dict() == {int(digit): share for digit, share in values["per_class"].items()}
    assert classes["f1"].fillna(0).mean() == pytest.approx(values["macro_f1"], rel=1e-5)
    mistakes = pd.read_csv(project.folder / f"plots/{engine}/confusions.csv")
    assert len(mistakes) == 10
    assert mistakes["count"].is_monotonic_decreasing
    assert mistakes["count"][0] == confusion["count"][confusion["actual"] != confusion["predicted"]].max()


def test_comparison_follows_from_the_predictions(project: Project) -> None:
    labels = load(project, "data/processed/test_labels.npy")
    torch_right, scratch_right = (
        load(project, f"data/predictions/{engine}.npy").argmax(axis=1) == labels for engine in ENGINES
    )
    values = metrics(project, "comparison")
    assert values["accuracy_difference"] == pytest.approx(torch_right.mean() - scratch_right.mean())
    assert values["accuracy_difference_low"] < values["accuracy_difference"] < values["accuracy_difference_high"]
    assert values["both_wrong"] == np.sum(~torch_right & ~scratch_right)
    assert 0 <= values["mcnemar_p"] <= 1
    assert 0 <= values["agreement"] <= 1
    summary = metrics(project, "summary")
    assert summary == {
        **{engine: {name: metrics(project, engine)[name] for name in ("accuracy", "loss")} for engine in ENGINES},
        "difference": values["accuracy_difference"],
        "mcnemar_p": values["mcnemar_p"],
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_history_and_timing(project: Project, engine: str) -> None:
    history = pd.read_csv(project.folder / f"plots/{engine}/history.csv")
    assert list(history) == [
        "epoch",
        "learning_rate",
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
    ]
    assert history["epoch"].tolist() == [1]
    timing = metrics(project, f"timing_{engine}")
    assert timing["train_seconds"] > 0
    assert timing["images_per_second"] > 0
    assert timing["device"] == "cpu"
    assert timing["threads"] >= 1


def test_models_are_plain_arrays_and_rebuild_the_network(project: Project) -> None:
    state = torch.load(project.folder / "models/torch/mnist_model.pth", weights_only=True)
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(784, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10)
    )
    network.load_state_dict(state)
    images = torch.from_numpy(load(project, "data/processed/test_images.npy"))
    probabilities = torch.softmax(network(images), dim=1).detach().numpy()
    np.testing.assert_allclose(load(project, "data/predictions/torch.npy"), probabilities, rtol=1e-4, atol=1e-7)
    weights = load(project, "models/scratch/model.npz")
    network_described = {"channels": [], "hidden": [16], "activation": "relu", "batch_norm": False, "dropout": 0.0}
    assert json.loads(str(weights["network"])) == network_described
    network.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights.files if name != "network"})
    probabilities = torch.softmax(network(images), dim=1).detach().numpy()
    np.testing.assert_allclose(load(project, "data/predictions/scratch.npy"), probabilities, rtol=1e-4, atol=1e-7)


def test_a_second_repro_does_nothing_and_says_so(project: Project) -> None:
    output = project.dvc("repro")
    assert stages_run(output) == []
    assert "Data and pipelines are up to date." in output
    assert "Data and pipelines are up to date." in project.dvc("status")


def test_running_everything_again_gives_the_same_bytes(project: Project) -> None:
    before = digests(project)
    assert sorted(stages_run(project.dvc("repro", "--force"))) == sorted(ALL_STAGES)
    assert digests(project) == before
    assert len(before) > 20


@pytest.mark.parametrize(
    ("change", "rerun"),
    [
        ("train_scratch.learning_rate=0.002", ["train_scratch", "evaluate@scratch", "compare", "plot"]),
        ("train_torch.epochs=2", ["train_torch", "evaluate@torch", "compare", "plot"]),
        ("preprocess.validation_size=50", ALL_STAGES[1:]),
    ],
)
def test_a_changed_parameter_reruns_what_depends_on_it(project: Project, change: str, rerun: list[str]) -> None:
    output = project.dvc("exp", "run", "--set-param", change)
    assert sorted(stages_run(output)) == sorted(rerun)
    name, value = change.split("=")
    assert name.split(".")[1] in project.dvc("params", "diff")
    assert value in project.dvc("params", "diff")
    assert "metrics/summary.json" in project.dvc("metrics", "diff", "--all")
    project.run("git", "checkout", "--quiet", ".")
    project.dvc("checkout")
    assert "up to date" in project.dvc("status")


def test_a_fresh_clone_without_a_remote_shows_metrics_and_plots(project: Project, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", project.folder, tmp_path / "clone"], check=True)
    clone = Project(tmp_path / "clone")
    assert "metrics/summary.json" in clone.dvc("metrics", "show")
    for name in ("torch", "scratch", "comparison", "timing_torch", "timing_scratch"):
        assert f"metrics/{name}.json" in clone.dvc("metrics", "show", f"metrics/{name}.json")
    page = clone.dvc("plots", "show").strip().removeprefix("file://")
    html = Path(page).read_text(encoding="utf-8")
    assert "validation_loss" in html
    assert html.count("<img") == len(list((project.folder / "plots/images").glob("*.png")))
    assert not clone.run("git", "status", "--porcelain").stdout


def test_a_bad_parameter_stops_with_one_line_before_any_work(project: Project) -> None:
    before = digests(project)
    project.set({"train_scratch.learning_rate": "-0.1"})
    result = project.run("dvc", "repro", check=False)
    assert result.returncode != 0
    errors = [line for line in result.stdout.splitlines() if line.startswith("error:")]
    assert errors == ["error: train_scratch.learning_rate: must be > 0, got -0.1"]
    assert "Traceback" not in result.stdout
    assert digests(project) == before
    project.run("git", "checkout", "--quiet", ".")
    project.dvc("checkout")


@pytest.mark.parametrize("engine", ENGINES)
def test_divergence_says_where_and_leaves_no_model(project: Project, engine: str) -> None:
    section = f"train_{engine}"
    project.set(
        {f"{section}.learning_rate": "1000000", f"{section}.optimizer": "sgd", f"{section}.schedule": "constant"}
    )
    result = project.run("dvc", "repro", section, check=False)
    assert result.returncode != 0
    assert re.search(r"^error: the loss is (nan|inf) in epoch 1 at (step \d+ of 22|its end), with", result.stdout, re.M)
    assert "Traceback" not in result.stdout
    assert "Warning" not in result.stdout
    assert not [path for path in (project.folder / "models" / engine).iterdir() if path.name != ".gitignore"]
    project.run("git", "checkout", "--quiet", ".")
    project.dvc("checkout")


OPENED = """
import runpy, sys
opened = []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
runpy.run_module(sys.argv[1], run_name="__main__")
print("\\n".join(name for name in opened if name.startswith("data/")))
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_training_never_opens_the_test_split(project: Project, engine: str) -> None:
    output = project.run(sys.executable, "-c", OPENED, f"stages.train_{engine}").stdout
    opened = {line for line in output.splitlines() if line.startswith("data/")}
    assert opened == {
        f"data/processed/{split}_{kind}.npy" for split in ("train", "validation") for kind in ("images", "labels")
    }


def test_the_readme_shows_the_graph_that_dvc_draws(project: Project) -> None:
    assert project.dvc("dag", "--md").strip() in README


def test_every_stage_says_what_it_does(project: Project) -> None:
    stages = yaml.safe_load(project.read("dvc.yaml"))["stages"]
    assert all(stage.get("do", stage)["desc"] for stage in stages.values())
    assert "train_scratch" in project.dvc("stage", "list")
