"""Every option of params.yaml that concerns training changes it, in both engines, and set back changes nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.engines import make
from stages.engines.config import SHARED, EngineConfig
from stages.pipeline.classifier import UNSTANDARDIZED
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import Split
from stages.training.checkpoint import Checkpoint
from stages.training.loop import train
from tests.configs import make_config

AUGMENTED = {"enabled": True, "rotation": 5.0, "shift": 1.0, "scale": 0.1, "shear": 5.0, "elastic": 0.5}
OPTIONS: dict[str, tuple[object, dict[str, Any]]] = {  # another value, and what is beside it
    "network.channels": ([2], {}),
    "network.convolutions": (2, {"channels": [2]}),
    "network.kernel_size": (4, {"channels": [2]}),
    "network.padding": (1, {"channels": [2]}),
    "network.global_avg_pool": (True, {"channels": [2]}),
    "network.hidden_sizes": ([5, 6], {}),
    "network.activation": ("leaky_relu", {}),
    "network.batch_norm": (True, {}),
    "network.dropout": (0.2, {}),
    "network.initialization": ("he_normal", {}),
    "optimizer.name": ("adam", {}),
    "optimizer.learning_rate": (0.02, {}),
    "optimizer.schedule": ("cosine", {}),
    "optimizer.warmup_fraction": (0.4, {"schedule": "one_cycle"}),
    "optimizer.step_size": (2, {"schedule": "step", "step_size": 1}),
    "optimizer.gamma": (0.2, {"schedule": "step", "step_size": 1}),
    "optimizer.momentum": (0.8, {"name": "momentum"}),
    "optimizer.weight_decay": (0.1, {}),
    "optimizer.max_grad_norm": (0.5, {}),
    "optimizer.ema_decay": (0.5, {}),
    "training.epochs": (2, {}),
    "training.batch_size": (9, {}),
    "training.label_smoothing": (0.1, {}),
    "training.patience": (1, {"learning_rate": 1e-9}),  # so that no epoch is better than the first
    "augmentation.enabled": (True, {}),
    **{f"augmentation.{name}": (value / 2, AUGMENTED) for name, value in AUGMENTED.items() if name != "enabled"},
    "augmentation.no_aug_epochs": (1, AUGMENTED),
}
# No result tells whether these two are heeded: test_parallel.py and test_devices.py hold them.
HELD_ELSEWHERE = {"threads", "device"}


def examples(count: int, seed: int) -> Split:
    """Rows and columns of gray, on which every distortion shows."""
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(count, 28, 28)).cumsum(axis=1).cumsum(axis=2) / 28
    return Split(images.astype(np.float32), np.arange(count) % 10)


def outcome(folder: Path, engine: str, options: dict[str, Any]) -> dict[str, bytes]:
    """What a training leaves: weights, history and answers."""
    config = make_config(**{"hidden_sizes": [6], "epochs": 3, "batch_size": 8, **options})
    training, validation, generators = examples(20, 1), examples(10, 2), spawn_generators(3)
    classifier, history = make(engine, config, generators, UNSTANDARDIZED), folder / "history.csv"
    checkpoint = Checkpoint(folder / "checkpoint.npz", config, "cpu", [training, validation], generators)
    train(classifier, training, validation, config, generators, history, checkpoint)
    checkpoint.remove()
    weights = {name: array.tobytes() for name, array in classifier.state_dict().items()}
    return {**weights, "history": history.read_bytes(), "answers": classifier.predict(validation.images).tobytes()}


def test_every_option_has_its_case() -> None:
    fields = {f"{name}.{key}" for name in SHARED for key in type(getattr(EngineConfig(), name)).model_fields}
    assert fields == OPTIONS.keys()
    assert set(type(make_config()).model_fields) == {*SHARED, *HELD_ELSEWHERE}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("engine", ["scratch", "torch"])
def test_an_option_changes_training_and_set_back_gives_the_same_bytes(tmp_path: Path, engine: str, option: str) -> None:
    value, beside = OPTIONS[option]
    before = outcome(tmp_path, engine, beside)
    changed = outcome(tmp_path, engine, beside | {option.split(".")[1]: value})
    assert changed["history"] != before["history"]
    if option != "training.patience":  # which ends with the weights of the same epoch
        assert {**changed, "history": b""} != {**before, "history": b""}
    assert outcome(tmp_path, engine, beside) == before
