"""What the pipeline relies on in a classifier, held by both engines."""

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.engines.scratch_engine import ScratchClassifier
from stages.engines.torch_engine import TorchClassifier
from stages.pipeline.classifier import Classifier, Standardization
from stages.pipeline.rng import spawn_generators
from tests.configs import make_config

ENGINES = [ScratchClassifier, TorchClassifier]
NETWORKS: list[dict[str, Any]] = [{"hidden_sizes": [64]}, {"channels": [4, 6], "hidden_sizes": [32]}]
NETWORK_NAMES = ["dense", "convolutional"]
EngineClass = type[ScratchClassifier] | type[TorchClassifier]

pytestmark = pytest.mark.parametrize("engine", ENGINES)


def random_examples(
    count: int, seed: int = 0
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float32]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, 28, 28)).astype(np.float32), generator.integers(10, size=count)


@pytest.mark.parametrize("network", NETWORKS, ids=NETWORK_NAMES)
def test_an_untrained_network_knows_nothing(engine: EngineClass, network: dict[str, Any]) -> None:
    """Its loss is near ln 10, the loss of guessing."""
    images, labels = random_examples(1000)
    classifier: Classifier = engine(make_config(initialization="xavier_normal", **network), spawn_generators(0))
    assert classifier.train_batch(0.1 * images, labels, 0.0) == pytest.approx(math.log(10), abs=0.05)


@pytest.mark.parametrize("network", NETWORKS, ids=NETWORK_NAMES)
def test_32_images_can_be_memorized(engine: EngineClass, network: dict[str, Any]) -> None:
    images, labels = random_examples(32)
    classifier: Classifier = engine(make_config(name="adam", **network), spawn_generators(0))
    losses = [classifier.train_batch(images, labels, 0.003) for _ in range(150)]
    assert losses[-1] < 0.01
    assert (classifier.predict(images).argmax(axis=1) == labels).all()


def test_the_moving_average_of_a_short_training_has_forgotten_its_first_weights(engine: EngineClass) -> None:
    """150 steps: a decay of 0.999 from the start would give the first weights six sevenths of the average."""
    images, labels = random_examples(32)
    classifier: Classifier = engine(make_config(name="adam", hidden_sizes=[64], ema_decay=0.999), spawn_generators(0))
    for _ in range(150):
        classifier.train_batch(images, labels, 0.003)
    assert classifier.predict(images)[np.arange(32), labels].min() > 0.9


@pytest.mark.parametrize("network", NETWORKS, ids=NETWORK_NAMES)
def test_shuffled_labels_stay_at_chance(engine: EngineClass, network: dict[str, Any]) -> None:
    """Nothing but the labels can tell the classes: with the right ones, nearly all new images are recognized."""
    generator = np.random.default_rng(0)
    shapes = generator.normal(size=(10, 28, 28))
    labels = np.arange(3000) % 10
    images = (shapes[labels] + generator.normal(size=(3000, 28, 28))).astype(np.float32)

    def accuracy(targets: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
        classifier: Classifier = engine(make_config(name="adam", **network), spawn_generators(0))
        for _ in range(4):
            for batch in np.split(generator.permutation(2000), 40):
                classifier.train_batch(images[batch], targets[batch], 0.003)
        return float(np.mean(classifier.predict(images[2000:]).argmax(axis=1) == labels[2000:]))

    assert accuracy(labels) > 0.95
    assert accuracy(generator.permutation(labels)) == pytest.approx(0.1, abs=0.06)  # six standard errors


def test_no_step_writes_into_its_batch(engine: EngineClass) -> None:
    images, labels = random_examples(32)
    given = images.copy(), labels.copy()
    classifier = engine(make_config(hidden_sizes=[16], channels=[2], batch_norm=True, dropout=0.2), spawn_generators(0))
    classifier.train_batch(images, labels, 0.01)
    classifier.predict(images)
    assert (images == given[0]).all()
    assert (labels == given[1]).all()


@pytest.mark.parametrize("network", NETWORKS, ids=NETWORK_NAMES)
def test_dropout_draws_from_its_own_seed_in_training_and_not_at_inference(
    engine: EngineClass, network: dict[str, Any]
) -> None:
    images, labels = random_examples(50)

    def losses(seed: int) -> list[float]:
        generators = spawn_generators(0)._replace(dropout=np.random.default_rng(seed))
        classifier = engine(make_config(dropout=0.5, **network), generators)
        before = classifier.predict(images)
        taken = [classifier.train_batch(images, labels, 0.0) for _ in range(2)]
        assert (classifier.predict(images) == before).all()
        return taken

    assert losses(1) == losses(1) != losses(2)
    assert losses(1)[0] != losses(1)[1]


def test_no_dtype_drifts(engine: EngineClass) -> None:
    """Neither in what is kept nor, in the NumPy engine, where it allocates anew, in what any layer is given."""
    images, labels = random_examples(32)
    classifier = engine(
        make_config(
            hidden_sizes=[16],
            channels=[2],
            batch_norm=True,
            dropout=0.2,
            label_smoothing=0.1,
            name="adamw",
            weight_decay=0.1,
            max_grad_norm=1.0,
            ema_decay=0.9,
        )
    )
    passed: list[np.ndarray[Any, Any]] = []
    if isinstance(classifier, ScratchClassifier):
        for layer in {*classifier.network.layers, *classifier.ema_network.layers}:
            for name in ("forward", "backward_parameters", "backward_input"):
                watch(layer, name, passed)
    for _ in range(3):
        classifier.train_batch(images, labels, np.float64(0.01))
    passed += [classifier.predict(images), *classifier.training_state().values()]
    assert {array.dtype for array in passed if array.dtype.kind == "f"} == {np.dtype(np.float32)}


def watch(owner: object, name: str, passed: list[np.ndarray[Any, Any]]) -> None:
    """Keep what a method is given and what it returns."""
    method = getattr(owner, name)

    def watched(array: np.ndarray[Any, Any]) -> Any:
        result = method(array)
        passed.extend([array] if result is None else [array, result])
        return result

    setattr(owner, name, watched)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(engine: EngineClass) -> None:
    def trained(seed: int) -> bytes:
        classifier = engine(make_config(hidden_sizes=[16], name="adamw", weight_decay=0.1), spawn_generators(seed))
        for step in range(5):
            classifier.train_batch(*random_examples(64, step), 0.01)
        return classifier.to_bytes()

    assert trained(1) == trained(1) != trained(2)


def test_a_saved_classifier_predicts_the_same_and_knows_its_standardization(engine: EngineClass) -> None:
    images, _ = random_examples(50)
    classifier = engine(make_config(hidden_sizes=[16, 8]), spawn_generators(0), Standardization(0.13, 0.31))
    probabilities = classifier.predict(images)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    loaded = engine.from_bytes(classifier.to_bytes())
    assert (loaded.predict(images) == probabilities).all()
    assert loaded.standardization == Standardization(0.13, 0.31)


@pytest.mark.parametrize("network", NETWORKS, ids=NETWORK_NAMES)
def test_any_number_of_images_in_any_memory_order_is_predicted(engine: EngineClass, network: dict[str, Any]) -> None:
    images, _ = random_examples(7)
    classifier = engine(make_config(**network), spawn_generators(0))
    probabilities = classifier.predict(images)
    assert classifier.predict(images[:0]).shape == (0, 10)
    np.testing.assert_allclose(classifier.predict(images[3:4]), probabilities[3:4], rtol=1e-5)
    np.testing.assert_allclose(classifier.predict(images[::-1]), probabilities[::-1], rtol=1e-5)


def test_a_state_dict_is_a_copy(engine: EngineClass) -> None:
    images, labels = random_examples(50)
    classifier = engine(make_config(hidden_sizes=[16]), spawn_generators(0))
    state, before = classifier.state_dict(), classifier.predict(images)
    classifier.train_batch(images, labels, 1.0)
    assert (classifier.predict(images) != before).any()
    classifier.load_state_dict(state)
    assert (classifier.predict(images) == before).all()


def test_weights_of_another_network_are_refused(engine: EngineClass) -> None:
    state = engine(make_config(hidden_sizes=[16])).state_dict()
    with pytest.raises(ValueError, match="do not fit the network"):
        engine(make_config(hidden_sizes=[17])).load_state_dict(state)


class Malicious:
    """Its pickle creates a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_damaged_or_malicious_file_is_refused_and_runs_nothing(engine: EngineClass, tmp_path: Path) -> None:
    whole = engine(make_config(hidden_sizes=[16])).to_bytes()
    trace = tmp_path / "trace"
    for content in (b"", b"text", whole[:100], whole[: len(whole) // 2], pickle.dumps(Malicious(trace))):
        with pytest.raises(ValueError, match="not a model of this network"):
            engine.from_bytes(content)
    assert not trace.exists()
