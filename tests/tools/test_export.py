"""The ONNX files of `make export`, run by ONNX Runtime and by ONNX's own reference implementation."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.data.idx import read_split
from stages.engines import ENGINES
from stages.engines.config import Activation, NetworkConfig
from stages.engines.network import build_layers
from stages.engines.scratch import nn
from stages.pipeline.classifier import UNSTANDARDIZED
from stages.pipeline.errors import PipelineError
from tests import test_own_layer, test_third_engine
from tests.configs import make_config
from tests.project import Project
from tests.trained import draw_digits, train

try:
    import onnx
    import onnxruntime
    from onnx.reference import ReferenceEvaluator

    from stages.tools.export import nn as export_nn
    from stages.tools.export.model import IR_VERSION, OPSET, PixelDType, layer_nodes, onnx_bytes
except ModuleNotFoundError as error:
    pytest.skip(f"{error.name} is not installed: make export installs it", allow_module_level=True)

pytestmark = pytest.mark.slow

NETWORKS: dict[str, dict[str, Any]] = {
    "one layer": {"hidden_sizes": []},
    "dense": {"hidden_sizes": [32, 16]},
    "dense with everything": {"hidden_sizes": [32, 16], "batch_norm": True, "dropout": 0.3, "ema_decay": 0.9},
    "convolutional": {"channels": [4, 6], "hidden_sizes": [16]},
    "convolutional with everything": {"channels": [4], "hidden_sizes": [16], "batch_norm": True, "dropout": 0.3},
    "deep": {"channels": [3, 4, 5], "convolutions": 2, "kernel_size": 3, "padding": 1, "global_avg_pool": True}
    | {"batch_norm": True},
}
TOLERANCE = 1e-5
COMMAND = ("python", "-m", "stages.tools.export")
HEADER = "ONNX opset 17, IR version 8: pixels uint8 (N, 28, 28), probabilities float32 (N, 10)\n"
MODELS = [path.with_name("model.onnx").as_posix() for path in ENGINES.values()]


def export(classifier: Any, dtype: PixelDType = "uint8") -> bytes:
    return onnx_bytes("name", classifier.config.network, classifier.state_dict(), classifier.standardization, dtype)


def run(content: bytes, pixels: NDArray[Any]) -> NDArray[np.float32]:
    (probabilities,) = onnxruntime.InferenceSession(content).run(["probabilities"], {"pixels": pixels})
    return np.asarray(probabilities)


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_probabilities_are_those_of_the_engine(engine: str, network: str, activation: str) -> None:
    """For 1,000 images at once, each of the first few alone, and none."""
    classifier = train(engine, make_config(name="adam", activation=activation, **NETWORKS[network]))
    pixels, _ = draw_digits()
    expected = classifier.predict(classifier.standardization.apply(pixels))
    assert np.ptp(expected, axis=0).max() > 1000 * TOLERANCE  # the images make a difference
    content = export(classifier)
    np.testing.assert_allclose(run(content, pixels), expected, rtol=0, atol=TOLERANCE)
    for index in range(3):
        alone = slice(index, index + 1)
        np.testing.assert_allclose(run(content, pixels[alone]), expected[alone], rtol=0, atol=TOLERANCE)
    assert run(content, pixels[:0]).shape == (0, 10)


@pytest.mark.parametrize("engine", ENGINES)
def test_pixels_may_be_fractions_where_the_file_is_made_for_float32(engine: str) -> None:
    classifier = train(engine, make_config(name="adam", hidden_sizes=[32]))
    digits, _ = draw_digits()
    pixels = (digits + np.roll(digits, 1, axis=2)) / np.float32(2.5)
    images = (pixels / 255 - classifier.standardization.mean) / classifier.standardization.std
    expected = classifier.predict(images.astype(np.float32))
    content = export(classifier, "float32")
    np.testing.assert_allclose(run(content, pixels.astype(np.float32)), expected, rtol=0, atol=TOLERANCE)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match=r"expected: .*uint8"):
        run(export(classifier), pixels.astype(np.float32) / 255)  # the usual mistake is an error, and no answer


def test_the_file_says_what_it_is_and_what_it_needs() -> None:
    classifier = train("scratch", make_config(hidden_sizes=[32], activation="gelu"))
    content = export(classifier)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    assert model.ir_version == onnx.helper.find_min_ir_version_for(model.opset_import) == 8
    assert (model.producer_name, model.graph.name) == ("mnist-twice", "name")
    metadata = {each.key: each.value for each in model.metadata_props}
    assert (
        NetworkConfig.model_validate_json(metadata["network"])
        == make_config(hidden_sizes=[32], activation="gelu").network
    )
    session = onnxruntime.InferenceSession(content)
    described = [(each.name, each.type, each.shape) for each in (*session.get_inputs(), *session.get_outputs())]
    assert described == [
        ("pixels", "tensor(uint8)", ["N", 28, 28]),
        ("probabilities", "tensor(float)", ["N", 10]),
    ]
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    assert weights.keys() == {"white", "mean", "std", "1.weight", "1.bias", "3.weight", "3.bias"}
    assert (weights["1.weight"] == classifier.state_dict()["1.weight"]).all()
    assert export(classifier) == content


@pytest.mark.parametrize("network", NETWORKS)
def test_another_implementation_of_onnx_gives_the_same(network: str) -> None:
    """Where ONNX Runtime reads something into the file that is not there, this one does not."""
    classifier = train("scratch", make_config(name="adam", activation="gelu", **NETWORKS[network]))
    pixels = draw_digits()[0][:20]
    (probabilities,) = ReferenceEvaluator(onnx.load_from_string(export(classifier))).run(None, {"pixels": pixels})
    expected = classifier.predict(classifier.standardization.apply(pixels))
    np.testing.assert_allclose(np.asarray(probabilities), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Conv2d", {"in_channels": 2, "out_channels": 3, "kernel_size": (3, 5), "stride": (2, 1), "padding": (1, 2)}),
        ("Conv2d", {"in_channels": 2, "out_channels": 3, "kernel_size": 3, "stride": 3, "bias": False}),
        ("MaxPool2d", {"kernel_size": (3, 2), "stride": 1}),
        ("AvgPool2d", {"kernel_size": (3, 2), "stride": (2, 1)}),
        ("LeakyReLU", {"negative_slope": 0.3}),
        ("BatchNorm2d", {"num_features": 2, "eps": 0.1}),
    ],
)
def test_a_layer_with_other_arguments_than_the_networks_has_is_exported_with_them(
    name: str, arguments: dict[str, Any]
) -> None:
    """Whoever changes build_layers need not change the export."""
    generator = np.random.default_rng(0)
    network = nn.Sequential(getattr(nn, name)(**arguments)).eval()
    network.parameters[...], network.buffers[...] = generator.random(network.parameters.shape), 0.5
    x = generator.normal(size=(4, 2, 11, 9)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [*layer_nodes([getattr(export_nn, name)(**arguments)], "x", "y")],
        name,
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", "C", "H", "W"])],
        [onnx.numpy_helper.from_array(array, key) for key, array in network.state_dict().items()],
    )
    opset = onnx.helper.make_operatorsetid("", OPSET)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    (y,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(y, network.forward(x), rtol=1e-5, atol=TOLERANCE)


def test_a_network_that_is_larger_than_an_onnx_file_can_be_is_refused() -> None:
    config = make_config(hidden_sizes=[10_000] * 7).network
    state = {  # views of one number
        f"{index}.{name}": np.broadcast_to(np.float32(0), shape)
        for index, layer in enumerate(build_layers(nn, config))
        for name, shape in layer.parameter_shapes().items()
    }
    with pytest.raises(PipelineError, match=r"2.3 GiB of weights are more than an ONNX file can hold, 2 GiB"):
        onnx_bytes("name", config, state, UNSTANDARDIZED, "uint8")


def test_the_command_exports_both_engines_and_disturbs_neither_dvc_nor_git(project: Project) -> None:
    output = project.run(*COMMAND).stdout
    assert output.startswith(HEADER)
    for engine, path in zip(ENGINES, MODELS, strict=True):
        assert f"\n{engine}: {path}, 0.1 MB, probabilities of 200 test images within " in output
        pixels, _ = read_split(project.folder / "data/raw", "test")
        predictions = np.load(project.folder / f"data/predictions/{engine}.npy")
        np.testing.assert_allclose(run(project.read(path), pixels), predictions, rtol=0, atol=TOLERANCE)
    content = {path: project.read(path) for path in MODELS}
    assert project.status() == ""
    assert project.dvc("status") == "Data and pipelines are up to date.\n"
    assert "Running stage" not in project.dvc("repro")
    project.dvc("checkout", "--force")
    project.run("python", "-m", "stages.tools.gate")
    project.install()
    assert "pixels float32 (N, 28, 28)" in project.run("make", "export", "DTYPE=float32").stdout
    assert all(project.read(path) != content[path] for path in MODELS)
    assert HEADER in project.run("make", "export").stdout
    assert content == {path: project.read(path) for path in MODELS}


def test_a_model_that_is_missing_or_damaged_is_one_line_and_the_other_engine_is_exported(project: Project) -> None:
    torch, scratch = (project.folder / path for path in ENGINES.values())
    torch.unlink()
    done = project.run(*COMMAND, check=False)
    error = f"error: torch is not exported: {ENGINES['torch']}: missing; train it with `dvc repro train_torch`"
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 3)
    assert error in done.stdout.splitlines()
    assert [(project.folder / path).exists() for path in MODELS] == [False, True]
    scratch.write_bytes(b"damaged")
    (project.folder / MODELS[1]).unlink()
    done = project.run(*COMMAND, check=False)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 3)
    assert "error: scratch is not exported: models/scratch/model.npz: not a model of this network: " in done.stdout
    assert not (project.folder / MODELS[1]).exists()


def test_what_is_not_installed_is_one_line(project: Project, tmp_path: Path) -> None:
    """PyTorch, after `make scratch`, is none of the other engine's business."""
    for name in ("torch", "onnx", "onnxruntime"):
        (tmp_path / name).mkdir()
        stand_in = f"raise ModuleNotFoundError('No module named {name}', name='{name}')"
        (tmp_path / name / f"{name}.py").write_text(stand_in)
    output = project.run(*COMMAND, environment={"PYTHONPATH": str(tmp_path / "torch")}).stdout
    assert "note: torch is not exported: torch is not installed; `make` installs it\n" in output
    assert [(project.folder / path).exists() for path in MODELS] == [False, True]
    for name in ("onnx", "onnxruntime"):
        done = project.run(*COMMAND, check=False, environment={"PYTHONPATH": str(tmp_path / name)})
        assert (done.returncode, done.stdout) == (1, f"error: {name} is not installed; `make export` installs it\n")


def test_without_the_images_a_model_is_exported_and_not_compared(project: Project) -> None:
    (project.folder / "data/raw/t10k-images-idx3-ubyte").unlink()
    output = project.run(*COMMAND).stdout
    assert "scratch: models/scratch/model.onnx, 0.1 MB, not compared with the engine: data/raw/t10k-images" in output
    assert all((project.folder / path).exists() for path in MODELS)


SILU = '''

class SiLU(ONNXLayer, nn.SiLU):
    """x σ(x)."""

    def nodes(self, inputs: list[str], y: str) -> list[NodeProto]:
        return [make_node("Sigmoid", inputs, [f"{y}.gate"]), make_node("Mul", [*inputs, f"{y}.gate"], [y])]
'''
WRITE_MODELS = """
from stages.engines import ENGINES, make
from stages.engines.config import Config
from stages.pipeline.classifier import Standardization
from stages.pipeline.params import load_config
from stages.pipeline.rng import spawn_generators
for name, path in ENGINES.items():
    config = load_config(Config).engine(name)
    path.write_bytes(make(name, config, spawn_generators(0), Standardization(0.1, 0.3)).to_bytes())
"""


def test_an_added_activation_is_one_line_until_it_has_its_operators(project: Project) -> None:
    for name, (old, new) in test_own_layer.EDITS.items():
        (project.folder / name).write_text(project.read(name).decode().replace(old, new), encoding="utf-8")
    project.set({"network.activation": "silu"})
    project.run("python", "-c", WRITE_MODELS)
    done = project.run(*COMMAND, check=False)
    problem = "stages.tools.export.nn must have the layers of stages.engines.network: "
    lines = [f"error: {engine} is not exported: {problem}" for engine in ENGINES]
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 3)
    assert all(line in done.stdout for line in lines)
    assert "'SiLU'" in done.stdout
    with (project.folder / "stages/tools/export/nn.py").open("a", encoding="utf-8") as file:
        file.write(SILU)
    output = project.run(*COMMAND).stdout
    assert output.count("probabilities of 200 test images within ") == 2
    assert all(float(part.split()[0]) < TOLERANCE for part in output.split(" within ")[1:])


def test_an_added_engine_of_other_layers_is_left_out_with_one_line(project: Project) -> None:
    (project.folder / test_third_engine.NEW).write_text(test_third_engine.ENGINE, encoding="utf-8")
    engines = "stages/engines/__init__.py"
    text = test_third_engine.EDITS[engines](project.read(engines).decode())
    (project.folder / engines).write_text(text, encoding="utf-8")
    (project.folder / "models/softmax").mkdir()
    np.save(project.folder / "models/softmax/model.npy", np.zeros((10, 784), np.float32))
    output = project.run(*COMMAND).stdout
    assert "note: softmax is not exported: it does not say which layers of stages/engines/network.py it has\n" in output
    assert all((project.folder / path).exists() for path in MODELS)
