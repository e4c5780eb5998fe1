"""What an engine resumes from: after any step, with every optimizer, and never from another training's state."""

from typing import Any

import numpy as np
import pytest

from stages.engines.scratch_engine import ScratchClassifier
from stages.engines.torch_engine import TorchClassifier
from stages.pipeline.classifier import Classifier, StateDict
from stages.pipeline.rng import spawn_generators
from tests.configs import make_config

OPTIMIZERS = ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"]
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"hidden_sizes": [5]},
    "all options": {
        "channels": [2],
        "hidden_sizes": [6],
        "batch_norm": True,
        "dropout": 0.3,
        "weight_decay": 0.1,
        "ema_decay": 0.9,
    },
}
STEPS = 4
EngineClass = type[ScratchClassifier] | type[TorchClassifier]

pytestmark = pytest.mark.parametrize("engine", [ScratchClassifier, TorchClassifier])


def train(classifier: Classifier, start: int, stop: int) -> list[float]:
    """Steps ``start`` to ``stop``. Returns their losses."""
    losses = []
    for step in range(start, stop):
        generator = np.random.default_rng(step)
        images, labels = generator.normal(size=(12, 28, 28)).astype(np.float32), generator.integers(10, size=12)
        losses.append(classifier.train_batch(images, labels, 0.01))
    return losses


def assert_same(state: StateDict, expected: StateDict) -> None:
    assert state.keys() == expected.keys()
    for name, array in expected.items():
        assert (state[name].shape, state[name].dtype.type) == (array.shape, array.dtype.type), name
        assert state[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_after_any_step_also_before_the_first(
    engine: EngineClass, optimizer: str, options: dict[str, Any]
) -> None:
    """In a classifier of another seed, fresh or trained: the same losses, and in the end the same bytes."""
    config = make_config(name=optimizer, momentum=0.8, **options)
    undisturbed = engine(config, spawn_generators(1))
    states, losses = [undisturbed.training_state()], []
    for step in range(STEPS):
        losses += train(undisturbed, step, step + 1)
        states.append(undisturbed.training_state())
    model = undisturbed.to_bytes()
    for step, state in enumerate(states):
        resumed = engine(config, spawn_generators(2))
        train(resumed, 0, step % 3)
        resumed.load_training_state(state)
        assert_same(resumed.training_state(), state)
        assert train(resumed, step, STEPS) == losses[step:]
        assert_same(resumed.training_state(), states[-1])
        assert resumed.to_bytes() == model


def test_a_training_state_is_a_copy(engine: EngineClass) -> None:
    """Neither does training change what was taken, nor what was loaded."""
    classifier = engine(make_config(name="adam", **OPTIONS["all options"]), spawn_generators(1))
    train(classifier, 0, 2)
    state = classifier.training_state()
    taken = {name: array.copy() for name, array in state.items()}
    train(classifier, 2, 3)
    assert_same(state, taken)
    classifier.load_training_state(state)
    train(classifier, 2, 3)
    assert_same(state, taken)


def test_training_changes_all_that_a_training_state_holds(engine: EngineClass) -> None:
    """So that to restore it is not to leave it as it is."""
    classifier = engine(make_config(name="adam", **OPTIONS["all options"]), spawn_generators(1))
    before = classifier.training_state()
    train(classifier, 0, 2)
    assert all(array.tobytes() != before[name].tobytes() for name, array in classifier.training_state().items())


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(engine: EngineClass, optimizer: str) -> None:
    """An array that is missing, or one too many, as of another device; one that would broadcast; another dtype."""
    other = engine(make_config(name=optimizer, **OPTIONS["all options"]), spawn_generators(2))
    train(other, 0, 3)
    state = other.training_state()
    device_generator = np.zeros(16, np.uint8)  # of a CUDA device: seed and offset
    refused: list[StateDict] = [{}, state | {"generator.device": device_generator}, state | {"\n": np.zeros(1)}]
    refused.append(engine(make_config(name="rmsprop", **OPTIONS["all options"])).training_state())
    refused.append(engine(make_config(name=optimizer, **OPTIONS["plain"])).training_state())
    refused += [{kept: state[kept] for kept in state if kept != name} for name in state]
    for name, array in state.items():
        others = [np.zeros(array.shape, np.float16), array[None], np.zeros((0, *array.shape), array.dtype)]
        others += [array.reshape(-1)[:1].copy()] if array.ndim else [array.reshape(1)]
        others += [array[:-1]] if array.ndim and len(array) > 1 else []
        refused += [
            state | {name: other} for other in others if (other.shape, other.dtype) != (array.shape, array.dtype)
        ]
    classifier = engine(make_config(name=optimizer, **OPTIONS["all options"]), spawn_generators(1))
    train(classifier, 0, 2)
    before = classifier.training_state()
    for number, content in enumerate(refused):
        with pytest.raises(ValueError, match=r"the training state does not fit: '.+' must be .+, got .+") as caught:
            classifier.load_training_state(content)
        assert str(caught.value).isprintable(), number
        assert_same(classifier.training_state(), before)
    classifier.load_training_state(state)
    assert_same(classifier.training_state(), state)


def test_a_float64_state_is_not_for_a_float32_classifier(engine: EngineClass) -> None:
    config = make_config(**OPTIONS["plain"])
    double, single = engine(config, spawn_generators(1), dtype="float64"), engine(config, spawn_generators(1))
    for classifier, other in ((single, double), (double, single)):
        wanted, given = ("float32", "float64") if classifier is single else ("float64", "float32")
        with pytest.raises(ValueError, match=rf"must be {wanted} \(.*\), got {given} \("):
            classifier.load_training_state(other.training_state())


def test_what_is_missing_or_one_too_many_is_said(engine: EngineClass) -> None:
    classifier = engine(make_config(**OPTIONS["plain"]), spawn_generators(1))
    state = classifier.training_state()
    name = min(state)
    with pytest.raises(ValueError, match=rf"'{name}' must be \w+ \(.*\), got absent$"):
        classifier.load_training_state({other: state[other] for other in state if other != name})
    with pytest.raises(ValueError, match=r"'a' must be absent, got float32 \(3,\)$"):
        classifier.load_training_state(state | {"a": np.zeros(3, np.float32)})


def test_the_state_of_a_generator_that_is_none_is_refused_and_changes_nothing(engine: EngineClass) -> None:
    classifier = engine(make_config(**OPTIONS["plain"]), spawn_generators(1))
    before = classifier.training_state()
    train(classifier, 0, 1)
    trained = classifier.training_state()
    damage = (
        {"generator": np.zeros(5056, np.uint8)} if engine is TorchClassifier else {"dropout_generator": np.array("")}
    )
    with pytest.raises((ValueError, RuntimeError)):
        classifier.load_training_state(before | damage)
    assert_same(classifier.training_state(), trained)
