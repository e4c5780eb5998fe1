"""The section of README.md on using the models: its code as it stands there, on models of the committed networks."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.engines import ENGINES
from stages.engines.config import Config
from stages.pipeline.classifier import Classifier
from stages.pipeline.params import load_config
from tests.imports import ROOT
from tests.readme import python_blocks
from tests.trained import draw_digits, train

pytestmark = pytest.mark.slow

MODEL = {"from torch import": "torch", "import numpy": "scratch", "import onnxruntime": "torch"}  # that a block loads
BLOCKS = python_blocks("README.md", "Use the models")


@pytest.fixture(scope="module")
def classifiers() -> dict[str, Classifier]:
    config = load_config(Config, ROOT / "params.yaml")
    return {engine: train(engine, config.engine(engine)) for engine in ENGINES}


def test_there_is_a_block_of_at_most_six_lines_for_each_way_to_use_a_model() -> None:
    assert len(BLOCKS) == len(MODEL)
    assert all(block.startswith(beginning) for block, beginning in zip(BLOCKS, MODEL, strict=True))
    assert max(len(block.splitlines()) for block in BLOCKS) <= 6


@pytest.mark.parametrize("beginning", MODEL)
def test_each_block_gives_the_probabilities_of_the_engine(
    beginning: str, classifiers: dict[str, Classifier], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for engine, path in ENGINES.items():
        path.parent.mkdir(parents=True)
        path.write_bytes(classifiers[engine].to_bytes())
    classifier, (pixels, _) = classifiers[MODEL[beginning]], draw_digits()
    if "onnx" in beginning:
        write_onnx(MODEL[beginning], classifier)
    namespace: dict[str, Any] = {"pixels": pixels}
    exec(next(block for block in BLOCKS if block.startswith(beginning)), namespace)
    probabilities = np.array(namespace["probabilities"].tolist())
    expected = classifier.predict(classifier.standardization.apply(pixels))
    assert len(set(expected.argmax(axis=1))) > 5
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)


def write_onnx(engine: str, classifier: Any) -> None:
    """What `make export` writes."""
    if not importlib.util.find_spec("onnx") or not importlib.util.find_spec("onnxruntime"):
        pytest.skip("onnx and onnxruntime are not installed: make export installs them")
    from stages.tools.export.model import onnx_bytes

    content = onnx_bytes(
        engine, classifier.config.network, classifier.state_dict(), classifier.standardization, "uint8"
    )
    ENGINES[engine].with_name("model.onnx").write_bytes(content)
