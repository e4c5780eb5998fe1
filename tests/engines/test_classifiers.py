"""What the pipeline relies on in a classifier, held by both engines."""

import io
import json
import math
import pickle
import resource
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.engines.scratch_engine import ScratchClassifier
from stages.engines.torch_engine import TorchClassifier
from stages.pipeline.classifier import Classifier, Standardization, StateDict
from stages.pipeline.files import npz_bytes
from stages.pipeline.rng import spawn_generators
from tests.configs import make_config
from tests.malicious import Malicious

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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("network", NETWORKS, ids=NETWORK_NAMES)
def test_a_saved_classifier_has_the_same_answers_network_and_standardization(
    engine: EngineClass, network: dict[str, Any], ema_decay: float, dtype: str
) -> None:
    """The moving average, where there is one, is all that is saved; what is loaded is float32, as are its answers."""
    images, labels = random_examples(50)
    config = make_config(
        **network, batch_norm=True, activation="gelu", dropout=0.2, initialization="he_normal", ema_decay=ema_decay
    )
    classifier = engine(config, spawn_generators(0), Standardization(0.13, 0.31), dtype)
    for _ in range(3):
        classifier.train_batch(images.astype(dtype), labels, 0.1)
    probabilities = classifier.predict(images.astype(dtype))
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    loaded = engine.from_bytes(classifier.to_bytes())
    assert loaded.standardization == Standardization(0.13, 0.31)
    assert loaded.config.network == config.network
    assert loaded.parameter_count() == classifier.parameter_count()
    state = classifier.state_dict()
    assert loaded.state_dict().keys() == state.keys()
    for name, array in loaded.state_dict().items():
        assert (array == state[name].astype(np.float32)).all(), name
    if dtype == "float32":
        assert (loaded.predict(images) == probabilities).all()
        assert loaded.to_bytes() == classifier.to_bytes()
    else:
        np.testing.assert_allclose(loaded.predict(images), probabilities, rtol=1e-4, atol=1e-7)


def test_weights_leave_a_classifier_contiguous_whatever_layout_they_are_trained_in(engine: EngineClass) -> None:
    """Whoever reads the file or the arrays gets (out, in, height, width) in that order in memory."""
    classifier = engine(make_config(channels=[4, 6], hidden_sizes=[8], ema_decay=0.9), spawn_generators(0))
    classifier.train_batch(*random_examples(8), 0.1)
    for array in (*classifier.state_dict().values(), *classifier.training_state().values()):
        assert array.flags.c_contiguous
    if engine is TorchClassifier:
        saved = torch.load(io.BytesIO(classifier.to_bytes()), weights_only=True)
        assert saved["3.weight"].shape == (6, 4, 5, 5)
        assert all(tensor.is_contiguous() for tensor in saved.values())


def test_what_is_saved_and_predicts_is_the_moving_average(engine: EngineClass) -> None:
    """With a decay near 1, it moves less than the weights that are trained, and is not them."""
    images, labels = random_examples(50)
    plain, averaged = (
        engine(make_config(hidden_sizes=[16], ema_decay=decay), spawn_generators(0)) for decay in (0.0, 0.999)
    )
    for _ in range(5):
        assert plain.train_batch(images, labels, 0.1) == averaged.train_batch(images, labels, 0.1)
    assert (plain.predict(images) != averaged.predict(images)).any()
    assert (plain.state_dict()["1.weight"] != averaged.state_dict()["1.weight"]).any()
    loaded = engine.from_bytes(averaged.to_bytes())
    assert (loaded.predict(images) == averaged.predict(images)).all()


def test_loaded_weights_are_trained_on_and_predict_also_with_a_moving_average(engine: EngineClass) -> None:
    images, labels = random_examples(50)
    trained = engine(make_config(hidden_sizes=[16]), spawn_generators(0))
    trained.train_batch(images, labels, 0.1)
    averaged = engine(make_config(hidden_sizes=[16], ema_decay=0.9), spawn_generators(1))
    averaged.load_state_dict(trained.state_dict())
    assert (averaged.predict(images) == trained.predict(images)).all()
    assert averaged.train_batch(images, labels, 0.1) == trained.train_batch(images, labels, 0.1)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("network", NETWORKS, ids=NETWORK_NAMES)
def test_every_image_of_a_batch_gets_its_own_answer(engine: EngineClass, network: dict[str, Any], threads: int) -> None:
    """As if it were alone, for any number of images in any order, also in memory, and on any number of threads."""
    images, labels = random_examples(23)
    config = make_config(threads=threads, batch_norm=True, dropout=0.5, **network)
    classifier = engine(config, spawn_generators(0))
    classifier.train_batch(images, labels, 0.1)
    assert classifier.predict(images).flags.c_contiguous  # as what reads the predictions expects
    alone = np.concatenate([classifier.predict(images[index : index + 1]) for index in range(23)])
    assert alone.shape == (23, 10)
    assert len({answer.tobytes() for answer in alone}) == 23
    order = np.random.default_rng(0).permutation(23)
    for batch in (
        slice(0),
        slice(1, 2),
        slice(2),
        slice(3),
        slice(4),
        slice(5, 12),
        slice(None),
        slice(None, None, -1),
    ):
        np.testing.assert_allclose(classifier.predict(images[batch]), alone[batch], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(classifier.predict(images[order]), alone[order], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(classifier.predict(images.astype(np.float64)), alone, rtol=1e-5, atol=1e-9)
    transposed = np.ascontiguousarray(images.transpose(2, 1, 0)).transpose(2, 1, 0)
    np.testing.assert_allclose(classifier.predict(transposed), alone, rtol=1e-5, atol=1e-9)


def test_a_state_dict_is_a_copy(engine: EngineClass) -> None:
    images, labels = random_examples(50)
    classifier = engine(make_config(hidden_sizes=[16]), spawn_generators(0))
    state, before = classifier.state_dict(), classifier.predict(images)
    classifier.train_batch(images, labels, 1.0)
    assert (classifier.predict(images) != before).any()
    classifier.load_state_dict(state)
    assert (classifier.predict(images) == before).all()


def test_weights_of_another_network_are_refused_and_change_nothing(engine: EngineClass) -> None:
    """One too few or too many, one by another name, one whose shape would broadcast."""
    classifier = engine(make_config(hidden_sizes=[16]), spawn_generators(0))
    state, before = classifier.state_dict(), classifier.to_bytes()
    weight, bias = state["1.weight"], state["1.bias"]
    others: list[StateDict] = [{}, {"0.weight" if name == "1.weight" else name: state[name] for name in state}]
    others += [engine(make_config(hidden_sizes=[17])).state_dict(), state | {"2.weight": weight}]
    others += [state | {"1.bias": bias[:1]}, state | {"1.bias": bias[None]}, state | {"1.weight": weight.T}]
    others += [{kept: state[kept] for kept in state if kept != name} for name in state]
    for other in others:
        with pytest.raises(ValueError, match="do not fit the network"):
            classifier.load_state_dict(other)
        assert classifier.to_bytes() == before


def test_a_damaged_or_malicious_file_is_refused_and_runs_nothing(engine: EngineClass, tmp_path: Path) -> None:
    whole = engine(make_config(hidden_sizes=[16])).to_bytes()
    trace = tmp_path / "trace"
    malicious, saved, arrays = Malicious(trace), io.BytesIO(), io.BytesIO()
    torch.save({"1.weight": malicious}, saved)
    np.savez(arrays, weight=np.array([malicious], dtype=object))
    pickles = pickle.dumps(malicious), saved.getvalue(), arrays.getvalue()
    for content in (b"", b"text", whole[:100], whole[: len(whole) // 2], *pickles):
        with pytest.raises(ValueError, match="not a model of this network"):
            engine.from_bytes(content)
    assert not trace.exists()


def resaved(content: bytes, **changes: Any) -> bytes:
    """A model file with other arrays, or with other metadata."""
    if content.startswith(b"PK") and b"data.pkl" in content:
        saved = torch.load(io.BytesIO(content), weights_only=True)
        for name, value in changes.items():
            if isinstance(value, np.ndarray):
                saved[name.replace("_", ".")] = torch.from_numpy(value)
            else:
                saved._metadata[""][name] = value
        buffer = io.BytesIO()
        torch.save(saved, buffer)
        return buffer.getvalue()
    with np.load(io.BytesIO(content)) as file:
        arrays = dict(file)
    for name, value in changes.items():
        if isinstance(value, np.ndarray):
            arrays[name.replace("_", ".")] = value
        else:
            arrays[name] = np.array(json.dumps(value) if isinstance(value, dict) else value)
    return npz_bytes(arrays)


def test_a_file_whose_weights_or_network_are_others_is_refused_in_one_line(engine: EngineClass) -> None:
    classifier = engine(make_config(hidden_sizes=[16]), spawn_generators(0), Standardization(0.1, 0.3))
    whole, network = classifier.to_bytes(), classifier.config.network.model_dump()
    assert engine.from_bytes(resaved(whole)).to_bytes() == whole
    changes: list[dict[str, Any]] = [
        {"1_weight": np.zeros((16, 783), np.float32)},
        {"1_bias": np.zeros(1, np.float32)},
        {"7_bias": np.zeros(1, np.float32)},
        {"network": network | {"hidden_sizes": [17]}},
        {"network": network | {"hidden_sizes": [16, 16]}},
        {"network": network | {"batch_norm": True}},
        {"network": network | {"activation": "step"}},
        {"network": network | {"unknown": 1}},
        {"network": network | {"channels": [1, 1, 1]}},
        {"pixel_mean": "text"},
        {"pixel_std": "text"},
    ]
    for change in changes:
        with pytest.raises(ValueError, match=r"^not a model of this network: ") as caught:
            engine.from_bytes(resaved(whole, **change))
        assert str(caught.value).isprintable(), change
        assert len(str(caught.value)) < 300, change
    other = engine.from_bytes(resaved(whole, pixel_mean=0.5, network=network | {"activation": "tanh"}))
    assert other.standardization == Standardization(0.5, 0.3)
    assert other.config.network.activation == "tanh"


def test_a_model_of_before_a_key_was_added_is_what_it_was(engine: EngineClass) -> None:
    """The added keys' defaults are what they decide on now."""
    config = make_config(channels=[2, 3], hidden_sizes=[5], batch_norm=True)
    classifier = engine(config, spawn_generators(0), Standardization(0.1, 0.3))
    added = {"convolutions", "kernel_size", "padding", "global_avg_pool"}
    old = classifier.config.network.model_dump(exclude=added)
    loaded = engine.from_bytes(resaved(classifier.to_bytes(), network=old))
    assert loaded.config.network == config.network
    assert loaded.to_bytes() == classifier.to_bytes()


def test_a_network_that_the_weights_do_not_fit_is_never_allocated(engine: EngineClass) -> None:
    classifier = engine(make_config(hidden_sizes=[16]))
    large = classifier.config.network.model_dump() | {"hidden_sizes": [10_000] * 5}  # 1.7 GB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="do not fit the network"):
        engine.from_bytes(resaved(classifier.to_bytes(), network=large))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1.5 * before


def test_a_compressed_file_which_could_expand_without_limit_is_refused(engine: EngineClass) -> None:
    whole = engine(make_config(hidden_sizes=[16])).to_bytes()
    compressed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as given, zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as written:
        for name in given.namelist():
            written.writestr(name, given.read(name))
    with pytest.raises(ValueError, match="not a model of this network: 'compressed'"):
        engine.from_bytes(compressed.getvalue())
