"""A trained network as JSON for the page, whose web/nn.js computes it: its layers by PyTorch's names, and weights."""

import inspect
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

from stages.engines.config import EngineConfig
from stages.engines.network import build_layers
from stages.engines.scratch import nn
from stages.pipeline.classifier import Classifier, StateDict
from stages.pipeline.errors import PipelineError

NN_JS = Path(__file__).parent / "web" / "nn.js"


def describe(engine: str, classifier: Classifier, accuracy: float | None = None) -> dict[str, Any]:
    """What the page's ``Network`` is made of. Raises PipelineError for a network that web/nn.js cannot compute."""
    config, state = getattr(classifier, "config", None), classifier.state_dict()
    # The NumPy library's layers know their arguments and allocate nothing.
    layers = build_layers(nn, config.network) if isinstance(config, EngineConfig) else []
    try:
        nn.check_state_dict(state, layers)
    except ValueError:
        message = f"{engine}: its network is not that of stages/engines/network.py, so the page cannot show it"
        raise PipelineError(message) from None
    unknown = sorted({type(layer).__name__ for layer in layers} - page_layers())
    if unknown:
        names = ", ".join(unknown)
        raise PipelineError(f"stages/tools/draw/web/nn.js: has no {names}; add a class, and its name in LAYER_CLASSES")
    arrays: list[StateDict] = [{} for _ in layers]
    for name, array in state.items():
        index, attribute = name.split(".")
        arrays[int(index)][attribute] = array
    mean, std = classifier.standardization
    described = [describe_layer(*each) for each in zip(layers, arrays, strict=True)]
    return {"engine": engine, "mean": mean, "std": std, "accuracy": accuracy, "layers": described}


def describe_layer(layer: nn.Module, arrays: StateDict) -> dict[str, Any]:
    """A layer's type, the arguments of its constructor, and its arrays as base64 of little-endian float32."""
    names = [name for name in inspect.signature(type(layer)).parameters if hasattr(layer, name)]
    encoded = {name: b64encode(array.astype("<f4").tobytes()).decode() for name, array in arrays.items()}
    return {"type": type(layer).__name__, **{name: getattr(layer, name) for name in names}, **encoded}


def page_layers() -> set[str]:
    """The types of layer that web/nn.js lists in LAYER_CLASSES."""
    _, _, rest = NN_JS.read_text(encoding="utf-8").partition("\nconst LAYER_CLASSES = {")
    return set(re.findall(r"\w+", rest.partition("}")[0]))
