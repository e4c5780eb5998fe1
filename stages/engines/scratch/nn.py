"""What torch.nn calls by the same names: ``build(nn)`` can take torch.nn or this module and build the same network."""

from stages.engines.scratch import init
from stages.engines.scratch.activations import GELU, LeakyReLU, ReLU, Sigmoid, Tanh
from stages.engines.scratch.convolution import Conv2d, MaxPool2d
from stages.engines.scratch.layers import Dropout, Flatten, Layer, Linear
from stages.engines.scratch.losses import CrossEntropyLoss, log_softmax
from stages.engines.scratch.normalization import BatchNorm1d, BatchNorm2d
from stages.engines.scratch.sequential import Sequential, check_state_dict

__all__ = [
    "GELU",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Layer",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "check_state_dict",
    "init",
    "log_softmax",
]
