"""What a checkpoint must not do: go on with another training, or start one from half of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.engines.scratch_engine import ScratchClassifier
from stages.pipeline.errors import PipelineError
from stages.pipeline.history import EpochMetrics
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import Split
from stages.training.checkpoint import Checkpoint, Progress
from tests.configs import make_config


def examples(seed: int) -> Split:
    return Split(np.random.default_rng(seed).normal(size=(20, 28, 28)).astype(np.float32), np.arange(20) % 10)


def checkpoint(folder: Path, validation: Split, seed: int = 1, device: str = "cpu", **options: Any) -> Checkpoint:
    config = make_config(**options)
    return Checkpoint(folder / "checkpoint.npz", config, device, [examples(1), validation], spawn_generators(seed))


def classifier() -> ScratchClassifier:
    return ScratchClassifier(make_config(hidden_sizes=[4], name="adam"))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with the checkpoint of a training after two steps."""
    trained = classifier()
    for _ in range(2):
        trained.train_batch(*examples(1), 0.01)
    progress = Progress([EpochMetrics(1, 0.01, 0.5, 0.9, 0.5, 0.9)], trained.state_dict())
    checkpoint(tmp_path, examples(2)).save(trained, progress)
    return tmp_path


def test_the_same_training_goes_on(saved: Path) -> None:
    resumed = classifier()
    assert len(checkpoint(saved, examples(2)).load(resumed).epochs) == 1
    assert resumed.optimizer.steps == 2


def test_another_training_starts_over(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also with other validation images: they select the epoch."""
    for other in (
        checkpoint(saved, examples(3)),
        checkpoint(saved, examples(2), seed=2),
        checkpoint(saved, examples(2), patience=1),
        checkpoint(saved, examples(2), device="cuda"),
    ):
        fresh = classifier()
        assert other.load(fresh) == Progress()
        assert fresh.optimizer.steps == 0
        assert "starting with the first epoch" in capsys.readouterr().out


def test_other_code_starts_over(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the model would be half the work of code that nobody has any more."""
    (saved / "training").mkdir()
    (saved / "training/loop.py").write_text("EPOCHS = 1", encoding="utf-8")
    monkeypatch.setattr("stages.training.checkpoint.STAGES", saved)
    assert checkpoint(saved, examples(2)).load(classifier()) == Progress()


def test_other_packages_start_over(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.training.checkpoint.version", lambda _: "0.1")
    assert checkpoint(saved, examples(2)).load(classifier()) == Progress()


def test_other_kernels_start_over(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a change of `arithmetic`: no model is half portable."""
    monkeypatch.setenv("MKL_CBWR", "AUTO")
    assert checkpoint(saved, examples(2)).load(classifier()) == Progress()


def test_what_does_not_fit_starts_nothing(saved: Path) -> None:
    path = saved / "checkpoint.npz"
    state = dict(np.load(path))
    del state["classifier.optimizer.steps"]
    np.savez(path, **state)
    with pytest.raises(PipelineError, match="does not fit"):
        checkpoint(saved, examples(2)).load(classifier())
