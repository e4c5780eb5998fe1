"""The stages `evaluate` and `compare` on a few images: what they write follows from model, splits and histories."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages import compare, evaluate
from stages.engines import ENGINES
from stages.engines.scratch_engine import ScratchClassifier
from stages.evaluation.paired import mcnemar_pvalue, tango_interval
from stages.pipeline.files import write_bytes, write_csv, write_json, write_npy
from stages.pipeline.history import EpochMetrics
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import load_filters
from tests.configs import make_config

GENERATOR = np.random.default_rng(0)
COUNT = 40
IMAGES = GENERATOR.normal(size=(COUNT, 28, 28)).astype(np.float32)
LABELS = np.arange(COUNT) % 10


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three splits that differ, and histories in which each column has its best value in another epoch."""
    monkeypatch.chdir(tmp_path)
    for split, labels in (("train", (LABELS + 1) % 10), ("validation", (LABELS + 2) % 10), ("test", LABELS)):
        write_npy(Path(f"data/processed/{split}_images.npy"), IMAGES if split == "test" else -IMAGES)
        write_npy(Path(f"data/processed/{split}_labels.npy"), labels)
    write_json(Path("data/raw/dataset.json"), {"dataset": "drawn by hand"})
    for shift, engine in enumerate(("torch", "scratch")):
        rows = [
            (1, 0.1, 0.9, 0.99 + shift / 1000, 0.3, 0.80 + shift / 1000),
            (2, 0.2, 0.8, 0.90 + shift / 1000, 0.4, 0.95 + shift / 1000),
            (3, 0.3, 0.7, 0.91 + shift / 1000, 0.2, 0.85 + shift / 1000),
        ]
        write_csv(Path(f"plots/{engine}/history.csv"), EpochMetrics._fields, rows)
    return tmp_path


def test_evaluate_writes_what_the_trained_network_predicts_of_every_test_image(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = ScratchClassifier(make_config(hidden_sizes=[12]), spawn_generators(0))
    write_bytes(ENGINES["scratch"], network.to_bytes())
    monkeypatch.setattr(sys, "argv", ["evaluate", "scratch"])
    evaluate.main()
    probabilities = network.predict(IMAGES)
    np.testing.assert_array_equal(np.load("data/predictions/scratch.npy"), probabilities)
    filters = network.state_dict()["1.weight"].reshape(12, 28, 28)
    np.testing.assert_array_equal(load_filters("scratch"), filters)
    predicted = probabilities.argmax(axis=1)
    metrics = json.loads((project / "metrics/scratch.json").read_text())
    assert list(metrics)[:2] == ["dataset", "parameters"]
    assert metrics["dataset"] == "drawn by hand"
    assert metrics["parameters"] == 784 * 12 + 12 + 12 * 10 + 10
    assert metrics["accuracy"] == pytest.approx(np.mean(predicted == LABELS))
    tables = {path.stem: pd.read_csv(path) for path in (project / "plots/scratch").glob("*.csv")}
    assert tables.keys() == {"history", "confusion", "classes", "confusions", "mistakes"}
    assert tables["confusion"]["count"].sum() == COUNT
    mistakes = tables["mistakes"]
    assert mistakes["index"].tolist() == np.flatnonzero(predicted != LABELS).tolist()
    assert mistakes["actual"].tolist() == LABELS[mistakes["index"]].tolist()
    np.testing.assert_allclose(mistakes["confidence"], probabilities.max(axis=1)[mistakes["index"]], rtol=5e-6)
    assert all(len(text.split(".")[1]) <= 7 for text in mistakes["confidence"].astype(str))


def test_compare_subtracts_scratch_from_torch_and_reports_the_epochs_that_were_kept(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch, scratch = LABELS.copy(), LABELS.copy()
    torch[:3] = (torch[:3] + 1) % 10
    scratch[2:12] = (scratch[2:12] + 5) % 10
    for engine, predicted in (("torch", torch), ("scratch", scratch)):
        write_npy(Path(f"data/predictions/{engine}.npy"), np.eye(10, dtype=np.float32)[predicted])
    compare.main()
    low, high = tango_interval(9, 2, COUNT)
    comparison = json.loads((project / "metrics/comparison.json").read_text())
    assert comparison == pytest.approx(
        {
            "accuracy_difference": 7 / COUNT,
            "accuracy_difference_low": low,
            "accuracy_difference_high": high,
            "mcnemar_p": mcnemar_pvalue(9, 2),
            "agreement": 28 / COUNT,
            "both_wrong": 1,
        },
        rel=1e-5,
    )
    assert json.loads((project / "metrics/summary.json").read_text()) == {
        "torch": {"val": 0.95, "val_loss": 0.4, "test": 37 / COUNT},
        "scratch": {"val": 0.951, "val_loss": 0.4, "test": 30 / COUNT},
    }
    line = (
        f"torch - scratch: +17.50%, 95 % interval {low:+.2%} to {high:+.2%}, McNemar p = {mcnemar_pvalue(9, 2):.2g}\n"
    )
    assert capsys.readouterr().out == line
