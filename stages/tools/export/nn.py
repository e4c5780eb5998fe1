"""The names of torch.nn for ``build_layers(nn, config)``: the NumPy library's layers, each with its ONNX nodes.

Arguments, defaults and weights are those of the NumPy layer; https://onnx.ai/onnx/operators describes the operators.
"""

import math
from typing import Any, ClassVar

from onnx import NodeProto
from onnx.helper import make_node

from stages.engines.scratch import nn


class ONNXLayer(nn.Module):
    """A layer that is one ONNX operator."""

    operator: ClassVar[str]

    def attributes(self) -> dict[str, Any]:
        """The operator's attributes."""
        return {}

    def nodes(self, inputs: list[str], y: str) -> list[NodeProto]:
        """The nodes from ``inputs``, which are x and the layer's weights in the order of the state_dict, to ``y``."""
        return [make_node(self.operator, inputs, [y], y, **self.attributes())]


class Flatten(ONNXLayer, nn.Flatten):
    """(N, a, b, ...) -> (N, a·b·...), ONNX's default too."""

    operator = "Flatten"


class Linear(ONNXLayer, nn.Linear):
    """Y = X Wᵀ + b."""

    operator = "Gemm"

    def attributes(self) -> dict[str, Any]:
        return {"transB": 1}


class Conv2d(ONNXLayer, nn.Conv2d):
    """With the same padding on every side."""

    operator = "Conv"

    def attributes(self) -> dict[str, Any]:
        return {"kernel_shape": self.kernel_size, "strides": self.stride, "pads": self.padding * 2}


class MaxPool2d(ONNXLayer, nn.MaxPool2d):
    """Without padding."""

    operator = "MaxPool"

    def attributes(self) -> dict[str, Any]:
        return {"kernel_shape": self.kernel_size, "strides": self.stride}


class AvgPool2d(ONNXLayer, nn.AvgPool2d):
    """Without padding."""

    operator = "AveragePool"

    def attributes(self) -> dict[str, Any]:
        return {"kernel_shape": self.kernel_size, "strides": self.stride}


class BatchNorm1d(ONNXLayer, nn.BatchNorm1d):
    """With the running averages."""

    operator = "BatchNormalization"

    def attributes(self) -> dict[str, Any]:
        return {"epsilon": self.eps}


class BatchNorm2d(BatchNorm1d):
    """The same operator."""


class Dropout(ONNXLayer, nn.Dropout):
    """What it is at inference."""

    operator = "Identity"


class ReLU(ONNXLayer, nn.ReLU):
    """max(x, 0)."""

    operator = "Relu"


class LeakyReLU(ONNXLayer, nn.LeakyReLU):
    """x where x > 0, else ``negative_slope`` · x."""

    operator = "LeakyRelu"

    def attributes(self) -> dict[str, Any]:
        return {"alpha": self.negative_slope}


class Sigmoid(ONNXLayer, nn.Sigmoid):
    """σ(x)."""

    operator = "Sigmoid"


class Tanh(ONNXLayer, nn.Tanh):
    """tanh x."""

    operator = "Tanh"


class GELU(ONNXLayer, nn.GELU):
    """x (1 + erf(x / √2)) / 2, because ONNX has no operator ``Gelu`` before opset 20."""

    def nodes(self, inputs: list[str], y: str) -> list[NodeProto]:
        (x,), constants = inputs, {"sqrt_2": math.sqrt(2), "1": 1.0, "half": 0.5}
        return [
            *(make_node("Constant", [], [f"{y}.{name}"], value_float=value) for name, value in constants.items()),
            make_node("Div", [x, f"{y}.sqrt_2"], [f"{y}.scaled"]),
            make_node("Erf", [f"{y}.scaled"], [f"{y}.erf"]),
            make_node("Add", [f"{y}.erf", f"{y}.1"], [f"{y}.twice_cdf"]),
            make_node("Mul", [x, f"{y}.twice_cdf"], [f"{y}.twice"]),
            make_node("Mul", [f"{y}.twice", f"{y}.half"], [y]),
        ]
