"""The networks of the page: web/nn.js in Chromium against PyTorch in float64, and against both engines."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from selenium import webdriver

from stages.data import synthetic
from stages.data.idx import TEST_IMAGES, TRAIN_IMAGES, TRAIN_LABELS, decode
from stages.engines.config import EngineConfig
from stages.engines.network import ACTIVATIONS, build_layers
from stages.engines.scratch import nn
from stages.engines.scratch_engine import ScratchClassifier
from stages.engines.torch_engine import TorchClassifier
from stages.pipeline.classifier import Standardization
from stages.pipeline.config import FetchConfig
from stages.pipeline.errors import PipelineError
from stages.pipeline.rng import spawn_generators
from stages.tools.draw.models import NN_JS, describe, describe_layer, page_layers
from tests.browser import messages
from tests.configs import make_config
from tests.engines.scratch.against_torch import with_random_parameters

pytestmark = pytest.mark.slow

ENGINES = {"torch": TorchClassifier, "scratch": ScratchClassifier}
PLAIN: dict[str, dict[str, Any]] = {
    "dense": {"hidden_sizes": [32, 16], "dropout": 0.2},
    "one_block": {"channels": [4], "hidden_sizes": []},
    "two_blocks": {"channels": [3, 5], "hidden_sizes": [16]},
}
NETWORKS: dict[str, dict[str, Any]] = {
    **PLAIN,
    **{f"{name}_batch_norm": {**network, "batch_norm": True} for name, network in PLAIN.items()},
    "deep": {"channels": [6, 8, 10], "convolutions": 2, "kernel_size": 3, "padding": 1, "global_avg_pool": True}
    | {"hidden_sizes": [16], "batch_norm": True},  # without which no activation but ReLU learns in these few steps
}
VALUES = [0, *(sign * size for sign in (1, -1) for size in (1e-30, 1e-3, 0.5, 1, 2, 5, 8.4, 8.5, 20, 100, 1e4))]
LAYERS: list[tuple[nn.Module, torch.nn.Module, tuple[int, ...]]] = [  # with other arguments than build_layers gives
    (nn.Flatten(), torch.nn.Flatten(), (2, 3, 4)),
    (nn.Dropout(0.5), torch.nn.Dropout(0.5), (7,)),
    (nn.Linear(7, 5), torch.nn.Linear(7, 5), (7,)),
    (nn.Linear(7, 5, bias=False), torch.nn.Linear(7, 5, bias=False), (7,)),
    (nn.Conv2d(3, 4, 3), torch.nn.Conv2d(3, 4, 3), (3, 7, 9)),
    (nn.Conv2d(2, 3, (2, 4), (3, 1), (1, 2)), torch.nn.Conv2d(2, 3, (2, 4), (3, 1), (1, 2)), (2, 8, 6)),
    (nn.Conv2d(3, 2, 1, bias=False), torch.nn.Conv2d(3, 2, 1, bias=False), (3, 4, 5)),
    (nn.MaxPool2d(2), torch.nn.MaxPool2d(2), (3, 7, 9)),
    (nn.MaxPool2d((3, 2), (2, 1)), torch.nn.MaxPool2d((3, 2), (2, 1)), (2, 8, 6)),
    (nn.AvgPool2d(3), torch.nn.AvgPool2d(3), (4, 3, 3)),
    (nn.AvgPool2d((3, 2), (2, 1)), torch.nn.AvgPool2d((3, 2), (2, 1)), (2, 8, 6)),
    (nn.BatchNorm1d(6, eps=0.1), torch.nn.BatchNorm1d(6, eps=0.1), (6,)),
    (nn.BatchNorm2d(3, eps=0.1), torch.nn.BatchNorm2d(3, eps=0.1), (3, 4, 5)),
    (nn.LeakyReLU(0.3), torch.nn.LeakyReLU(0.3), (len(VALUES),)),
    *((getattr(nn, name)(), getattr(torch.nn, name)(), (len(VALUES),)) for name in ACTIVATIONS.values()),
]

Pixels = NDArray[np.uint8]


def run_script(browser: webdriver.Chrome, folder: Path, script: str, **constants: Any) -> Any:
    """What a script returns on a page with nn.js and these constants alone, which must print nothing."""
    lines = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in constants.items())
    page = folder / "page.html"
    scripts = "".join(f"<script>\n{text}</script>\n" for text in (NN_JS.read_text(encoding="utf-8"), lines))
    page.write_text(
        f'<!doctype html><link rel="icon" href="data:,"><meta charset="utf-8">\n{scripts}', encoding="utf-8"
    )
    browser.get(page.as_uri())
    result = browser.execute_script(script)
    assert messages(browser, "browser") == []
    return result


def assert_near(actual: Any, expected: torch.Tensor, tolerance: float) -> None:
    """Equal up to a fraction of the largest number."""
    array = expected.detach().numpy()
    assert_allclose(np.asarray(actual, float), array.ravel(), rtol=0, atol=tolerance * max(np.abs(array).max(), 1e-30))


@pytest.fixture(scope="module")
def digits() -> tuple[Pixels, NDArray[np.int64], Pixels]:
    """Images and labels to train on, and 200 images to read, of which three are black, white and noise."""
    files = synthetic.fetch(FetchConfig(synthetic_train_size=1000, synthetic_test_size=200), 1)
    images, labels, test = (decode(name, files[name]) for name in (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES))
    test = test.copy()
    test[:3] = np.zeros((28, 28)), np.full((28, 28), 255), np.random.default_rng(0).integers(256, size=(28, 28))
    return images, labels.astype(np.int64), test


def train(engine: str, config: EngineConfig, images: Pixels, labels: NDArray[np.int64]) -> Any:
    """A classifier after 20 steps, in which neither a parameter nor a running average is what it was."""
    standardization = Standardization(float(images.mean()) / 255, float(images.std()) / 255)
    classifier = ENGINES[engine](config, spawn_generators(1), standardization)
    batches = zip(np.split(standardization.apply(images), 20), np.split(labels, 20), strict=True)
    for batch, targets in batches:
        classifier.train_batch(batch, targets, 0.003)
    return classifier


def in_float64(classifier: Any) -> torch.nn.Sequential:
    """PyTorch's network with a classifier's weights."""
    network = torch.nn.Sequential(*build_layers(torch.nn, classifier.config.network)).double().eval()
    state = {name: torch.from_numpy(array) for name, array in classifier.state_dict().items()}
    assert not network.load_state_dict(state, strict=False).unexpected_keys
    return network


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_page_computes_an_engines_network(
    browser: webdriver.Chrome,
    tmp_path: Path,
    digits: tuple[Pixels, NDArray[np.int64], Pixels],
    engine: str,
    activation: str,
    network: str,
) -> None:
    """Its input to the bit, the probabilities as the engine predicts, all in between and the gradients as PyTorch."""
    images, labels, pixels = digits
    config = make_config(name="adam", batch_size=50, activation=activation, **NETWORKS[network])
    classifier = train(engine, config, images, labels)
    probabilities, details = run_script(
        browser,
        tmp_path,
        """
        const network = new Network(DESCRIPTION);
        const probabilities = PIXELS.map((pixels) => Array.from(network.forward(pixels).probabilities));
        const details = PIXELS.slice(0, 20).map((pixels, index) => {
            const {input, outputs, logits} = network.forward(pixels);
            return [input, ...outputs, network.gradient(index % 10), logits].map((array) => Array.from(array));
        });
        return [probabilities, details];
        """,
        DESCRIPTION=describe(engine, classifier),
        PIXELS=pixels.reshape(-1, 784).tolist(),
    )
    standardized = classifier.standardization.apply(pixels)
    predicted = classifier.predict(standardized)
    assert np.ptp(predicted, axis=0).max() > 0.02  # an error of 1e-5 would show
    assert_allclose(np.array(probabilities, float), predicted, rtol=0, atol=1e-5)
    reference = in_float64(classifier)
    for index, (network_input, *outputs, gradient, logits) in enumerate(details):
        assert network_input == standardized[index].ravel().tolist()
        x = image = torch.from_numpy(standardized[index]).double()[None, None].requires_grad_()
        for layer, output in zip(reference, outputs, strict=True):
            x = layer(x)
            assert_near(output, x, 2e-6)
            x = x + (x.float().double() - x).detach()  # rounded, as activations are: equal pixels tie in pooling
        assert logits == outputs[-1]
        x[0, index % 10].backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
        assert image.grad is not None
        assert_near(gradient, image.grad, 1e-4)


@pytest.mark.parametrize(
    ("layer", "module", "shape"),
    LAYERS,
    ids=[f"{index}-{type(layer).__name__}" for index, (layer, *_) in enumerate(LAYERS)],
)
def test_a_layer_computes_output_and_gradient_as_pytorch_does(
    browser: webdriver.Chrome, tmp_path: Path, layer: nn.Module, module: torch.nn.Module, shape: tuple[int, ...]
) -> None:
    generator = np.random.default_rng(1)
    with_random_parameters(layer, generator, np.float32)
    state = layer.parameters | layer.buffers
    module = copy.deepcopy(module).double().eval()
    module.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, strict=False)
    x = np.array(VALUES) if shape == (len(VALUES),) else np.round(generator.normal(size=shape), 1)  # ties, in pooling
    x = x.astype(np.float32)
    inputs = torch.from_numpy(x).double()[None].requires_grad_()
    outputs = module(inputs)
    grad_output = generator.normal(size=tuple(outputs.shape[1:])).astype(np.float32)
    outputs.backward(torch.from_numpy(grad_output)[None].double())
    assert inputs.grad is not None
    actual_shape, actual, gradient = run_script(
        browser,
        tmp_path,
        """
        const layer = new LAYER_CLASSES[DESCRIPTION.type](DESCRIPTION, SHAPE), x = new Float32Array(X);
        const output = layer.forward(x), gradient = layer.backward(new Float32Array(GRAD_OUTPUT));
        return [layer.outputShape, Array.from(output), Array.from(gradient)];
        """,
        DESCRIPTION=describe_layer(layer, state),
        SHAPE=shape,
        X=x.ravel().tolist(),
        GRAD_OUTPUT=grad_output.ravel().tolist(),
    )
    assert tuple(actual_shape) == tuple(outputs.shape[1:])
    assert_allclose(np.array(actual, float), outputs.detach().numpy().ravel(), rtol=2e-7, atol=1e-6)
    assert_allclose(np.array(gradient, float), inputs.grad.numpy().ravel(), rtol=2e-7, atol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_how_a_number_came_about_adds_up_in_every_layer_even_for_a_black_and_a_white_image(
    browser: webdriver.Chrome, tmp_path: Path, digits: tuple[Pixels, NDArray[np.int64], Pixels], activation: str
) -> None:
    """Weights · inputs + bias is the output, and the inputs are what lies under the unit in the layer before."""
    images, labels, pixels = digits
    classifiers = [
        train("scratch", make_config(name="adam", activation=activation, **network), images, labels)
        for network in NETWORKS.values()
    ]
    networks = run_script(
        browser,
        tmp_path,
        """
        const list = (array) => array && Array.from(array);
        return DESCRIPTIONS.map((description) => {
            const network = new Network(description);
            return PIXELS.map((pixels) => {
                const {outputs} = network.forward(pixels);
                return network.layers.map((layer, index) => {
                    const last = outputs[index].length - 1;
                    const positions = [0, Math.floor(last / 3), Math.floor(last / 2), last];
                    const units = positions.map((position) => network.unit(index, position));
                    return {
                        ...{type: layer.type, inputShape: layer.inputShape, outputShape: layer.outputShape},
                        ...{before: network.layers[index - 1]?.type, input: list(network.inputOf(index))},
                        ...{output: list(outputs[index]), weight: list(layer.weight), positions},
                        ...{kernel: layer.kernel_size, padding: layer.padding},
                        units: units.map((unit) => ({...unit, weights: list(unit.weights), inputs: list(unit.inputs)})),
                    };
                });
            });
        });
        """,
        DESCRIPTIONS=[describe("scratch", classifier) for classifier in classifiers],
        PIXELS=pixels[:5].reshape(-1, 784).tolist(),
    )
    seen = set()
    for layer in (layer for passes in networks for layers in passes for layer in layers):
        seen.add(layer["type"])
        for position, unit in zip(layer["positions"], layer["units"], strict=True):
            assert unit["output"] == layer["output"][position]
            assert np.isfinite(np.array([unit["sum"], unit["bias"], *unit["inputs"]], float)).all()
            assert unit["sum"] + unit["bias"] == pytest.approx(unit["output"], rel=1e-6, abs=1e-6)
            assert math.prod(unit["shape"]) == len(unit["inputs"])
            assert not {"NaN", "undefined", "Infinity", "null"} & set(unit["formula"].split())
            assert_unit_of_its_type(layer, position, unit)
    assert seen == page_layers() - set(ACTIVATIONS.values()) | {ACTIVATIONS[activation]}


def assert_unit_of_its_type(layer: dict[str, Any], position: int, unit: dict[str, Any]) -> None:
    """Where its inputs stand in the layer before, and what the layer makes of them."""
    output = np.unravel_index(position, layer["outputShape"])
    maps = np.reshape(layer["input"], layer["inputShape"])
    weights = layer["weight"] and np.reshape(layer["weight"], (layer["outputShape"][0], -1))
    match layer["type"]:
        case "Linear":
            expected: Any = maps.ravel()
            assert len(unit["shape"]) == (3 if layer["before"] == "Flatten" else 1)
        case "Conv2d":
            (_, row, column), (side, _), (padding, _) = output, layer["kernel"], layer["padding"]
            padded = np.pad(maps, ((0, 0), (padding, padding), (padding, padding)))
            expected = padded[:, row : row + side, column : column + side]
            assert unit["shape"] == list(expected.shape)
        case "MaxPool2d":
            channel, row, column = output
            expected = maps[channel, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            assert unit["output"] == max(unit["inputs"])
            assert unit["shape"] == [1, 2, 2]
        case "AvgPool2d":  # of the whole map
            expected = maps[output[0]]
            assert unit["output"] == pytest.approx(np.mean(unit["inputs"]), rel=1e-6, abs=1e-6)
            assert unit["shape"] == [1, *expected.shape]
        case _:
            expected = maps.ravel()[position]
            assert unit["shape"] == [1]
    assert unit["inputs"] == np.ravel(expected).tolist()
    if layer["type"] in ("Linear", "Conv2d"):
        assert unit["weights"] == weights[output[0]].tolist()
        assert np.dot(unit["weights"], unit["inputs"]) == pytest.approx(unit["sum"], rel=1e-9, abs=1e-9)
    else:
        assert unit["weights"] is None


def test_erf_is_accurate_to_the_last_digits(browser: webdriver.Chrome, tmp_path: Path) -> None:
    xs = [*np.linspace(-7, 7, 1001), 1e-320, 1e-9, math.nextafter(6, 0), 1e300, math.inf]
    script = "return [XS.map(erf), Number.isNaN(erf(NaN)), erf(Infinity)];"
    values, is_nan, at_infinity = run_script(browser, tmp_path, script, XS=xs[:-1])
    assert_allclose(values, [math.erf(x) for x in xs[:-1]], rtol=2e-14, atol=0)
    assert is_nan
    assert at_infinity == 1


def test_python_knows_which_layers_the_page_has(browser: webdriver.Chrome, tmp_path: Path) -> None:
    classes = run_script(
        browser, tmp_path, "return Object.entries(LAYER_CLASSES).map(([key, each]) => [key, each.name])"
    )
    assert {key for key, _ in classes} == {name for _, name in classes} == page_layers()


def test_a_network_that_is_not_the_projects_own_is_refused_in_one_line() -> None:
    classifier = ScratchClassifier(make_config(hidden_sizes=[16]))
    classifier.config = make_config(hidden_sizes=[17])
    with pytest.raises(PipelineError, match=r"^softmax: its network is not that of stages/engines/network.py"):
        describe("softmax", classifier)
    del classifier.config  # as in an engine that has none
    with pytest.raises(PipelineError, match=r"^softmax: its network is not that of stages/engines/network.py"):
        describe("softmax", classifier)
