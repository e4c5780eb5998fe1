"""An engine is made for training, and its trained model is loaded, by its name alone."""

from pathlib import Path

import numpy as np
import pytest

from stages.engines import ENGINES, load, make
from stages.engines.scratch_engine import ScratchClassifier
from stages.engines.torch_engine import TorchClassifier
from stages.pipeline.classifier import Standardization
from stages.pipeline.errors import PipelineError
from stages.pipeline.rng import spawn_generators
from tests.configs import make_config

CLASSES = {"torch": TorchClassifier, "scratch": ScratchClassifier}
MODELS = {"torch": Path("models/torch/mnist_model.pth"), "scratch": Path("models/scratch/model.npz")}
engines = pytest.mark.parametrize("engine", CLASSES)


def test_the_engines_and_their_model_files() -> None:
    assert ENGINES == MODELS


@engines
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_engine_is_made_as_it_is_asked_for(engine: str, dtype: str) -> None:
    config, standardization = make_config(hidden_sizes=[3]), Standardization(0.1, 0.3)
    classifier = make(engine, config, spawn_generators(4), standardization, dtype)
    assert type(classifier) is CLASSES[engine]
    assert classifier.standardization == standardization
    expected = CLASSES[engine](config, spawn_generators(4), standardization, dtype).state_dict()
    for name, array in classifier.state_dict().items():
        assert array.dtype == dtype
        assert (array == expected[name]).all()
    default = make(engine, config, spawn_generators(4), standardization)
    assert {array.dtype for array in default.state_dict().values()} == {np.dtype(np.float32)}


@engines
def test_a_trained_model_is_loaded_from_its_file(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = MODELS[engine]
    with pytest.raises(PipelineError) as caught:
        load(engine)
    assert str(caught.value) == f"{path}: missing; train it with `dvc repro train_{engine}`"
    classifier = make(engine, make_config(hidden_sizes=[3]), spawn_generators(4), Standardization(0.1, 0.3))
    content = classifier.to_bytes()
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    loaded = load(engine)
    assert type(loaded) is CLASSES[engine]
    assert loaded.to_bytes() == content
    path.write_bytes(content[:100])
    with pytest.raises(PipelineError) as caught:
        load(engine)
    assert str(caught.value).startswith(f"{path}: not a model of this network: ")
    assert str(caught.value).endswith(f"; train it again with `dvc repro --force train_{engine}`")
