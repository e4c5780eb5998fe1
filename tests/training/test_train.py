"""The stage itself, in process on a few digits: what it is told reaches training, and the model is the kept epoch's."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from stages import train
from stages.engines import ENGINES, load
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_json, write_npy
from stages.pipeline.history import best_epoch, load_history
from stages.pipeline.metrics import accuracy, cross_entropy
from stages.pipeline.splits import Split, load_split
from tests.imports import ROOT
from tests.training.test_interruptions import digits

MEAN, STD = 0.1875, 0.28125
SMALL = {
    "network.hidden_sizes": [6],
    "scratch.network.hidden_sizes": [6],
    "training.batch_size": 8,
    "training.epochs": 7,
    "optimizer.learning_rate": 0.03,
    "optimizer.schedule": "constant",
}
# One key of each section that a training stage depends on.
CHANGES = {
    "seed": 2,
    "network.activation": "tanh",
    "optimizer.learning_rate": 0.01,
    "training.label_smoothing": 0.3,
    "augmentation.enabled": True,
    "ENGINE.optimizer.weight_decay": 0.9,
}


def write_split(name: str, split: Split) -> None:
    write_npy(Path(f"data/processed/{name}_images.npy"), split.images)
    write_npy(Path(f"data/processed/{name}_labels.npy"), split.labels)


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the project's params.yaml, made small, a training and a validation split, and no test split."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    set_params(SMALL)
    write_split("train", digits(40, 1))
    write_split("validation", digits(30, 2))
    write_json(Path("data/processed/standardization.json"), {"mean": MEAN, "std": STD})


def set_params(values: dict[str, Any]) -> None:
    content = YAML(typ="safe").load(Path("params.yaml"))
    for name, value in values.items():
        *sections, key = name.split(".")
        section = content
        for part in sections:
            section = section.setdefault(part, {})
        section[key] = value
    YAML(typ="safe").dump(content, Path("params.yaml"))


def run(engine: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Every file that ``python -m stages.train ENGINE`` leaves, but for its inputs."""
    for folder in ("models", "plots"):
        shutil.rmtree(folder, ignore_errors=True)
    monkeypatch.setattr("sys.argv", ["stages/train.py", engine])
    train.main()
    return {path.as_posix(): path.read_bytes() for top in ("models", "plots") for path in Path(top).rglob("*.*")}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_model_is_the_kept_epochs_with_the_standardization_in_it(
    engine: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An epoch that is neither the last nor the best on training images, and nothing else is left."""
    made = run(engine, monkeypatch)
    assert made.keys() == {ENGINES[engine].as_posix(), f"plots/{engine}/history.csv"}
    rows = load_history(engine)
    kept = best_epoch(rows)
    assert kept not in (
        rows[-1],
        max(rows, key=lambda row: row.train_accuracy),
        min(rows, key=lambda row: row.train_loss),
    )
    model, validation, training = load(engine), load_split("validation"), load_split("train")
    probabilities = model.predict(validation.images)
    assert accuracy(probabilities, validation.labels) == pytest.approx(kept.validation_accuracy, abs=1e-6)
    assert cross_entropy(probabilities, validation.labels) == pytest.approx(kept.validation_loss, abs=1e-6)
    sample = np.arange(30) * 40 // 30
    on_training = model.predict(training.images[sample])
    assert cross_entropy(on_training, training.labels[sample]) == pytest.approx(kept.train_loss, abs=1e-6)
    assert model.standardization == (MEAN, STD)
    said = capsys.readouterr()
    assert "training on 40 images, validating on 30; " in said.out
    assert f"\n{engine}: kept epoch {kept.epoch} of 7, validation accuracy {kept.validation_accuracy:.2%}, " in said.out
    assert said.out.rstrip().endswith("images/s (cpu, CPU threads: 1)")
    assert not said.err


@pytest.mark.parametrize("engine", ENGINES)
def test_every_section_and_the_seed_reach_training_and_nothing_else_does(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test split that lies there, and the other engine's section, change nothing."""
    made = run(engine, monkeypatch)
    params = Path("params.yaml").read_bytes()
    for name, value in CHANGES.items():
        set_params({name.replace("ENGINE", engine): value})
        other = run(engine, monkeypatch)
        assert other.keys() == made.keys()
        assert [each for each in made if other[each] == made[each]] == [], name
        Path("params.yaml").write_bytes(params)
    [another] = ENGINES.keys() - {engine}
    set_params({f"{another}.optimizer.weight_decay": 0.9, "fetch.timeout": 5.0})
    write_split("test", digits(30, 3))
    assert run(engine, monkeypatch) == made


@pytest.mark.parametrize("name", ["train", "validation"])
def test_other_digits_give_another_history(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And other validation digits the same training: the same losses on training digits."""
    run("scratch", monkeypatch)
    before = load_history("scratch")
    write_split(name, digits(30 if name == "validation" else 40, 7))
    run("scratch", monkeypatch)
    after = load_history("scratch")
    assert all(one.validation_loss != other.validation_loss for one, other in zip(before, after, strict=True))
    same_training = [one.train_loss for one in before] == [one.train_loss for one in after]
    assert same_training == (name == "validation")


def test_an_interrupted_stage_goes_on_and_ends_with_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run("scratch", monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr("stages.engines.scratch_engine.ScratchClassifier.train_batch", failing_in_epoch(3))
        with pytest.raises(PipelineError, match="diverged"):
            run("scratch", monkeypatch)
    assert Path("models/scratch/.checkpoint.npz").exists()
    assert not ENGINES["scratch"].exists()
    capsys.readouterr()
    train.main()
    said = capsys.readouterr().out
    assert "resuming after epoch 2/7, from models/scratch/.checkpoint.npz" in said
    assert {path: Path(path).read_bytes() for path in made} == made
    assert not Path("models/scratch/.checkpoint.npz").exists()


@pytest.mark.parametrize("change", ["train", "validation", "device"])
def test_an_interrupted_stage_starts_over_with_other_images_or_on_another_device(
    change: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("stages.engines.scratch_engine.ScratchClassifier.train_batch", failing_in_epoch(3))
        with pytest.raises(PipelineError, match="diverged"):
            run("scratch", monkeypatch)
    if change == "device":
        monkeypatch.setattr("stages.engines.scratch_engine.ScratchClassifier.device", "elsewhere", raising=False)
    else:
        write_split(change, digits(30 if change == "validation" else 40, 7))
    train.main()
    said = capsys.readouterr().out
    assert "is of a training with other" in said
    assert "(elsewhere, CPU threads: 1)" in said or change != "device"


def failing_in_epoch(number: int) -> Any:
    """A training step of the NumPy engine that gives nan once the epoch begins."""
    from stages.engines.scratch_engine import ScratchClassifier

    step, count = ScratchClassifier.train_batch, 0

    def train_batch(self: ScratchClassifier, *batch: Any) -> float:
        nonlocal count
        count += 1
        return step(self, *batch) if count <= 5 * (number - 1) else float("nan")

    return train_batch


def test_a_network_that_learns_nothing_is_said_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_params({"optimizer.learning_rate": 1e-9, "training.epochs": 1})
    run("scratch", monkeypatch)
    assert capsys.readouterr().err.startswith("warning: the best validation accuracy, ")


def test_a_split_that_is_missing_ends_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("data/processed/validation_labels.npy").unlink()
    with pytest.raises(PipelineError, match=r"data/processed/validation_labels.npy: missing"):
        run("scratch", monkeypatch)
    assert not Path("plots").exists()
