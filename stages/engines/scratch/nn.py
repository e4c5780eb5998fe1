"""The names of torch.nn: ``build_layers(nn, config)`` takes torch.nn or this module and builds the same network."""

from stages.engines.scratch import init
from stages.engines.scratch.activations import GELU, LeakyReLU, ReLU, Sigmoid, Tanh
from stages.engines.scratch.convolution import Conv2d
from stages.engines.scratch.layers import Dropout, Flatten, Linear, Module
from stages.engines.scratch.losses import CrossEntropyLoss, log_softmax
from stages.engines.scratch.normalization import BatchNorm1d, BatchNorm2d
from stages.engines.scratch.pooling import AvgPool2d, MaxPool2d
from stages.engines.scratch.sequential import Sequential, check_state_dict

__all__ = [
    "GELU",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Module",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "check_state_dict",
    "init",
    "log_softmax",
]
