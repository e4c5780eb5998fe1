"""What a checkpoint must not do: go on with another training, or start one from half of it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.engines import make
from stages.engines.config import TorchConfig
from stages.pipeline.arithmetic import KERNELS
from stages.pipeline.classifier import UNSTANDARDIZED, Classifier, StateDict
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import npz_bytes
from stages.pipeline.history import EpochMetrics
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import Split
from stages.training.checkpoint import CODE, STAGES, Checkpoint, Progress, packages
from tests.configs import make_config
from tests.imports import ROOT
from tests.malicious import Malicious

ENGINES = ("scratch", "torch")
OPTIONS: dict[str, Any] = {"hidden_sizes": [4], "name": "adam", "ema_decay": 0.9, "batch_norm": True}
EPOCHS = [EpochMetrics(1, 0.01, 0.5, 0.9, 0.5, 0.9), EpochMetrics(2, 0.005, 0.25, 0.8, 0.75, 0.7)]


def examples(seed: int) -> Split:
    return Split(np.random.default_rng(seed).normal(size=(20, 28, 28)).astype(np.float32), np.arange(20) % 10)


TRAINING, VALIDATION = examples(1), examples(2)


def checkpoint(
    folder: Path,
    training: Split = TRAINING,
    validation: Split = VALIDATION,
    seed: int = 1,
    device: str = "cpu",
    **options: Any,
) -> Checkpoint:
    config = make_config(**{**OPTIONS, **options})
    return Checkpoint(folder / "checkpoint.npz", config, device, (training, validation), spawn_generators(seed))


def classifier(engine: str = "scratch") -> Classifier:
    config = make_config(**OPTIONS)
    assert isinstance(config, TorchConfig)
    return make(engine, config, spawn_generators(1), UNSTANDARDIZED)


def save(folder: Path, engine: str = "scratch") -> Checkpoint:
    """Write the checkpoint of a training after two steps, the first of which was better."""
    trained, written = classifier(engine), checkpoint(folder)
    trained.train_batch(*TRAINING, 0.01)
    best = trained.state_dict()
    trained.train_batch(*TRAINING, 0.01)
    for position, generator in enumerate(written.generators):
        generator.random(position + 1)
    written.save(trained, Progress(EPOCHS, best, 12.5, 7.25))
    return written


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with a checkpoint."""
    save(tmp_path)
    return tmp_path


def same(one: StateDict, other: StateDict) -> bool:
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


def starts_over(other: Checkpoint) -> bool:
    """Whether it leaves classifier and generators at the start; otherwise it must go on."""
    fresh, generators = classifier(), [generator.bit_generator.state for generator in other.generators]
    before, progress = fresh.training_state(), other.load(fresh)
    assert progress.epochs in ([], EPOCHS)
    unchanged = same(before, fresh.training_state())
    assert unchanged == (progress == Progress())
    assert unchanged == (generators == [generator.bit_generator.state for generator in other.generators])
    return unchanged


@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_training_goes_on_with_all_that_was_there(tmp_path: Path, engine: str) -> None:
    written, resumed, goes_on = save(tmp_path, engine), classifier(engine), checkpoint(tmp_path)
    undisturbed = classifier(engine)
    undisturbed.train_batch(*TRAINING, 0.01)
    best = undisturbed.state_dict()
    undisturbed.train_batch(*TRAINING, 0.01)
    state = undisturbed.training_state()
    progress = goes_on.load(resumed)
    assert same(resumed.training_state(), state)
    assert same(progress.best_state, best)
    assert replace(progress, best_state={}) == Progress(EPOCHS, {}, 12.5, 7.25)
    assert all(isinstance(epoch, EpochMetrics) for epoch in progress.epochs)
    for generator, expected in zip(goes_on.generators, written.generators, strict=True):
        assert generator.bit_generator.state == expected.bit_generator.state
    goes_on.remove()
    assert goes_on.load(resumed) == Progress()
    goes_on.remove()  # which is nothing to complain about


def changed(split: Split, part: str) -> Split:
    """The split with one pixel or one label changed."""
    images, labels = split.images.copy(), split.labels.copy()
    if part == "images":
        images[-1, 27, 27] += 1
    else:
        labels[0] = 7
    return Split(images, labels)


@pytest.mark.parametrize(
    "other",
    [
        {"training": changed(TRAINING, "images")},
        {"training": changed(TRAINING, "labels")},
        {"validation": changed(VALIDATION, "images")},  # they select the epoch
        {"validation": changed(VALIDATION, "labels")},
        {"training": VALIDATION, "validation": TRAINING},
        {"training": Split(TRAINING.images[:10], TRAINING.labels[:10])},
        {"seed": 2},
        {"device": "cuda"},
        {"device": "mps"},
        {"epochs": 11},
        {"patience": 1},
        {"batch_size": 32},
        {"label_smoothing": 0.1},
        {"hidden_sizes": [5]},
        {"initialization": "xavier_normal"},
        {"dropout": 0.1},
        {"name": "adamw"},
        {"learning_rate": 0.02},
        {"schedule": "cosine"},
        {"momentum": 0.5},
        {"weight_decay": 0.1},
        {"ema_decay": 0.99},
        {"enabled": True},
        {"elastic": 2.0},
        {"no_aug_epochs": 1},
        {"threads": 2},
    ],
    ids=lambda other: " ".join(
        f"{name} {other[name]}" if name not in ("training", "validation") else name for name in other
    ),
)
def test_another_training_starts_over(saved: Path, other: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert starts_over(checkpoint(saved, **other))
    said = capsys.readouterr().out
    assert said == (
        f"{saved / 'checkpoint.npz'} is of a training with other config, data, code, device, kernels or packages; "
        "starting with the first epoch\n"
    )


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The code that decides what training does, in another folder, and a checkpoint that it made."""
    for folder in CODE:
        shutil.copytree(STAGES / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("stages.training.checkpoint.STAGES", tmp_path)
    save(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "module", ["training/loop.py", "pipeline/rng.py", "engines/torch_engine.py", "engines/scratch/optim.py"]
)
def test_other_code_starts_over(copied: Path, module: str) -> None:
    """Or the model would be half the work of code that nobody has any more. A new file is other code, too."""
    assert not starts_over(checkpoint(copied))
    code = (copied / module).read_bytes()
    (copied / module).write_bytes(code + b"\n")
    assert starts_over(checkpoint(copied))
    (copied / module).write_bytes(code)
    assert not starts_over(checkpoint(copied))
    (copied / module).with_name("new.py").touch()
    assert starts_over(checkpoint(copied))


@pytest.mark.parametrize("package", ["numpy", "torch"])
def test_another_release_of_what_computes_starts_over(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    """Installed before the one that was there, as importlib.metadata sees it."""
    assert packages() == [f"numpy {np.__version__}", f"torch {version('torch')}"]
    assert version("torch").split("+")[0] == torch.__version__.split("+")[0]
    (tmp_path / f"{package}-0.1.dist-info").mkdir()
    (tmp_path / f"{package}-0.1.dist-info/METADATA").write_text(f"Name: {package}\nVersion: 0.1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert f"{package} 0.1" in packages()
    assert starts_over(checkpoint(saved))


def test_a_checkpoint_of_the_numpy_engine_is_the_same_where_pytorch_is_installed() -> None:
    code = "import stages.engines.scratch_engine; from stages.training.checkpoint import packages; print(packages())"
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert finished.stdout == f"['numpy {np.__version__}']\n"


@pytest.mark.parametrize("name", KERNELS)
def test_other_kernels_start_over(saved: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As after a change of `arithmetic`: no model is half portable."""
    monkeypatch.setenv(name, "another")
    assert starts_over(checkpoint(saved))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1000],
        lambda content: content[:100],
        lambda _: b"",
        lambda _: b"no archive",
        lambda _: npz_bytes({"other": np.zeros(1)}),
        lambda _: npz_bytes({"metadata": np.array("{}")}),
        lambda _: npz_bytes({"metadata": np.array("no JSON")}),
        lambda content: content[:300] + bytes([content[300] ^ 1]) + content[301:],
    ],
)
def test_a_damaged_file_starts_over(
    saved: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes]
) -> None:
    path = saved / "checkpoint.npz"
    path.write_bytes(damage(path.read_bytes()))
    assert starts_over(checkpoint(saved))
    said = capsys.readouterr().out
    assert said.startswith(f"{path}: cannot be resumed, ")
    assert said.endswith("; starting with the first epoch\n")


def test_what_cannot_be_read_starts_over(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved / "checkpoint.npz"
    path.unlink()
    path.mkdir()
    assert starts_over(checkpoint(saved))
    assert capsys.readouterr().out.startswith(f"{path}: cannot be resumed, ")


def arrays(folder: Path) -> StateDict:
    with np.load(folder / "checkpoint.npz") as file:
        return dict(file)


def is_refused(checkpoint: Checkpoint, classifier: Classifier, state: StateDict) -> bool:
    """Whether a checkpoint of these arrays ends with the line that says what to do."""
    checkpoint.path.write_bytes(npz_bytes(state))
    try:
        checkpoint.load(classifier)
    except PipelineError as error:
        first, last = f"{checkpoint.path}: does not fit, ", "; remove it to start with the first epoch"
        return str(error).startswith(first) and str(error).endswith(last)
    return False


@pytest.mark.parametrize("engine", ENGINES)
def test_what_does_not_fit_starts_nothing(tmp_path: Path, engine: str) -> None:
    """The best weights, too, which are needed only after the last epoch; what NumPy could broadcast, too."""
    save(tmp_path, engine)
    state, resumed = arrays(tmp_path), (checkpoint(tmp_path), classifier(engine))
    assert not is_refused(*resumed, state)
    best = [name for name in state if name.startswith("best.")]
    damaged = {f"without {name}": {key: state[key] for key in state if key != name} for name in state}
    damaged |= {f"{name} in one more axis": {**state, name: state[name][None]} for name in best}
    damaged |= {f"one number of {name}": {**state, name: state[name].ravel()[:1]} for name in best}
    damaged |= {f"with {name}": {**state, name: np.zeros(1)} for name in ("best.9.weight", "worst.1.weight", "more")}
    del damaged["without metadata"]  # which is no checkpoint at all
    assert [name for name, arrays in damaged.items() if not is_refused(*resumed, arrays)] == []


@pytest.mark.parametrize(
    "metadata", [{"epochs": [[1, 2.0]]}, {"epochs": None}, {"generators": []}, {"seconds": [1.0] * 3}]
)
def test_metadata_that_do_not_fit_start_nothing(saved: Path, metadata: dict[str, Any]) -> None:
    state = arrays(saved)
    content = json.loads(str(state["metadata"])) | metadata
    damaged = {**state, "metadata": np.array(json.dumps(content))}
    assert is_refused(checkpoint(saved), classifier(), damaged)


def test_a_pickle_in_a_checkpoint_is_refused_and_runs_nothing(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, trace = saved / "checkpoint.npz", tmp_path / "trace"
    np.savez(path, pickled=np.array([Malicious(trace)]), **np.load(path))
    assert checkpoint(saved).load(classifier()) == Progress()
    assert "cannot be resumed" in capsys.readouterr().out
    assert not trace.exists()
