"""A trained network as an ONNX file: pixels, their standardization, the layers, softmax."""

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, numpy_helper
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_operatorsetid,
    make_tensor_value_info,
    set_model_props,
)

from stages.engines.config import NetworkConfig
from stages.engines.network import build_layers
from stages.engines.scratch.nn import check_state_dict
from stages.pipeline.classifier import CLASSES, IMAGE_SHAPE, WHITE, Standardization, StateDict
from stages.pipeline.errors import PipelineError
from stages.tools.export import nn

OPSET, IR_VERSION = 17, 8  # of ONNX 1.12, 2022: newer ones have nothing that is needed, and fewer programs read them
PRODUCER = "mnist-twice"
PixelDType = Literal["uint8", "float32"]
PIXEL_DTYPES = get_args(PixelDType)
MAX_BYTES = 2**31 - 2**20  # a Protocol Buffers message, such as an ONNX file, ends at 2 GiB; 1 MiB is for the nodes

_ELEMENT_TYPES = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}
_PIXELS = "images, 0 (black) to 255 (white), a bright digit on a dark background"
_PROBABILITIES = "the probability of each class, each row sums to 1"


def onnx_bytes(
    engine: str, config: NetworkConfig, state: StateDict, standardization: Standardization, dtype: PixelDType
) -> bytes:
    """Return an ONNX file from ``pixels``, (N, 28, 28) of ``dtype``, to ``probabilities``, float32 (N, 10).

    Raises PipelineError for a network that an ONNX file, or this package, cannot hold.
    """
    try:
        layers: list[nn.ONNXLayer] = build_layers(nn, config)
        check_state_dict(state, layers)
        nodes = [*standardization_nodes("pixels", "images"), *layer_nodes(layers, "images", "logits")]
    except (AttributeError, TypeError, ValueError) as error:  # of a layer that only the engines have
        raise PipelineError(f"{nn.__name__} must have the layers of stages.engines.network: {error}") from None
    if (size := sum(array.nbytes for array in state.values())) > MAX_BYTES:
        raise PipelineError(f"{size / 2**30:.1f} GiB of weights are more than an ONNX file can hold, 2 GiB")
    constants = {"white": WHITE, "mean": standardization.mean, "std": standardization.std}
    graph = make_graph(
        [*nodes, make_node("Softmax", ["logits"], ["probabilities"], "softmax", axis=1)],
        engine,
        [make_tensor_value_info("pixels", _ELEMENT_TYPES[dtype], ["N", *IMAGE_SHAPE], _PIXELS)],
        [make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", CLASSES], _PROBABILITIES)],
        [numpy_helper.from_array(np.asarray(each, np.float32), name) for name, each in (constants | state).items()],
    )
    model = make_model(
        graph, producer_name=PRODUCER, ir_version=IR_VERSION, opset_imports=[make_operatorsetid("", OPSET)]
    )
    set_model_props(model, {"network": config.model_dump_json()})
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def standardization_nodes(pixels: str, images: str) -> Iterator[NodeProto]:
    """From pixels (N, 28, 28) to standardized images (N, 1, 28, 28), as in Standardization.apply."""
    yield make_node("Cast", [pixels], ["float"], "cast", to=TensorProto.FLOAT)
    yield make_node("Div", ["float", "white"], ["fraction"], "scale")
    yield make_node("Sub", ["fraction", "mean"], ["centered"], "center")
    yield make_node("Div", ["centered", "std"], ["standardized"], "standardize")
    yield make_node("Constant", [], ["channel_axis"], "channel_axis", value_ints=[1])
    yield make_node("Unsqueeze", ["standardized", "channel_axis"], [images], "unsqueeze")


def layer_nodes(layers: list[nn.ONNXLayer], images: str, logits: str) -> Iterator[NodeProto]:
    """The nodes of all layers. Weights are called as in the state_dict, ``1.weight``, and outputs ``1.Linear``."""
    x = images
    for index, layer in enumerate(layers):
        y = f"{index}.{type(layer).__name__}" if layer is not layers[-1] else logits
        weights = [f"{index}.{name}" for name in layer.parameter_shapes() | layer.buffer_shapes()]
        yield from layer.nodes([x, *weights], y)
        x = y
