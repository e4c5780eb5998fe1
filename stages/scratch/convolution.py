"""Convolution and pooling of pictures (N, channels, height, width)."""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike

from stages.scratch.layers import Array, Layer

Pair = tuple[int, int]


def pair(value: int | Pair) -> Pair:
    """One number stands for height and width alike."""
    return value if isinstance(value, tuple) else (value, value)


class Conv2d(Layer):
    """Y[n, o] = b[o] + Σ over c, i, j of W[o, c, i, j] X[n, c, y·stride + i, x·stride + j], on pictures padded with 0.

    Weight W is (out_channels, in_channels, kernel height, kernel width), bias b (out_channels,). All windows of the
    batch become the columns of one matrix P, (in_channels · kernel pixels, windows), so that a convolution is the
    matrix product W P, and its gradients are those of a product (Chellapilla et al. 2006). With the N examples
    innermost in memory, building P is copying long rows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.bias = in_channels, out_channels, bias
        self.kernel, self.stride, self.padding = pair(kernel_size), pair(stride), pair(padding)
        self._patches: Array = np.empty(0)
        self._grad_patches: Array = np.empty(0)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        weight: dict[str, tuple[int, ...]] = {"weight": (self.out_channels, self.in_channels, *self.kernel)}
        return weight | {"bias": (self.out_channels,)} if self.bias else weight

    def forward(self, inputs: Array) -> Array:
        pictures = self._padded(inputs.transpose(1, 2, 3, 0))
        windows = self._windows(pictures)
        self._shape, self._patches = pictures.shape, _memory(self._patches, windows.shape, windows.dtype)
        self._patches[...] = windows
        outputs = self._matrix() @ self._patches.reshape(self._matrix().shape[1], -1)
        if self.bias:
            outputs += self.parameters["bias"][:, None]
        return outputs.reshape(self.out_channels, *windows.shape[3:]).transpose(3, 0, 1, 2)

    def _windows(self, pictures: Array) -> Array:
        """Every pixel of every window, as a view (in_channels, *kernel, height, width, N) of the pictures."""
        require_room(pictures, self.kernel)
        windows = sliding_window_view(pictures, self.kernel, axis=(1, 2))[:, :: self.stride[0], :: self.stride[1]]
        return windows.transpose(0, 4, 5, 1, 2, 3)

    def _matrix(self) -> Array:
        """W as (out_channels, in_channels · kernel pixels)."""
        return self.parameters["weight"].reshape(self.out_channels, -1)

    def _padded(self, pictures: Array) -> Array:
        """(channels, height, width, N) with a border of zeros, in that order in memory."""
        (top, left), (channels, height, width, count) = self.padding, pictures.shape
        padded = np.zeros((channels, height + 2 * top, width + 2 * left, count), pictures.dtype)
        padded[:, top : top + height, left : left + width] = pictures
        return padded

    def backward_parameters(self, grad_output: Array) -> None:
        """∂L/∂W = G Pᵀ and ∂L/∂b = the sum of G's rows, with G = ``grad_output`` as (out_channels, windows)."""
        gradient, weight = self._rows(grad_output), self.gradients["weight"].reshape(self.out_channels, -1)
        np.matmul(gradient, self._patches.reshape(weight.shape[1], -1).T, out=weight)
        if self.bias:
            np.sum(gradient, axis=1, out=self.gradients["bias"])

    def _rows(self, grad_output: Array) -> Array:
        return grad_output.transpose(1, 2, 3, 0).reshape(self.out_channels, -1)

    def backward_input(self, grad_output: Array) -> Array:
        """∂L/∂P = Wᵀ G; a pixel stands in several windows, so its gradient is the sum of its places in P."""
        _, _, _, height, width, _ = shape = self._patches.shape
        self._grad_patches = _memory(self._grad_patches, shape, grad_output.dtype)
        np.matmul(self._matrix().T, self._rows(grad_output), out=self._grad_patches.reshape(math.prod(shape[:3]), -1))
        pictures = np.zeros(self._shape, grad_output.dtype)
        for row, column in np.ndindex(self.kernel):
            rows = slice(row, row + self.stride[0] * height, self.stride[0])
            columns = slice(column, column + self.stride[1] * width, self.stride[1])
            pictures[:, rows, columns] += self._grad_patches[:, row, column]
        (top, left), (_, height, width, _) = self.padding, self._shape
        return pictures[:, top : height - top, left : width - left].transpose(3, 0, 1, 2)


def require_room(pictures: Array, kernel: Pair) -> None:
    """Raise ValueError when pictures (channels, height, width, N) are smaller than the window."""
    if pictures.shape[1] < kernel[0] or pictures.shape[2] < kernel[1]:
        raise ValueError(f"a window of {kernel} does not fit into a picture of {pictures.shape[1:3]}")


def _memory(array: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """The array itself where it fits, else a new one: large memory is slow to get."""
    return array if (array.shape, array.dtype) == (shape, dtype) else np.empty(shape, dtype)


class MaxPool2d(Layer):
    """The largest pixel of each window, whose steps are its own size unless ``stride`` says otherwise."""

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None) -> None:
        super().__init__()
        self.kernel = pair(kernel_size)
        self.stride = self.kernel if stride is None else pair(stride)
        self.overlap = self.stride[0] < self.kernel[0] or self.stride[1] < self.kernel[1]

    def _pixels(self, pictures: Array, row: int, column: int) -> Array:
        """The pixel at (row, column) of every window, as a view (channels, height, width, N) of the pictures."""
        bottom, right = pictures.shape[1] - self.kernel[0] + row + 1, pictures.shape[2] - self.kernel[1] + column + 1
        return pictures[:, row : bottom : self.stride[0], column : right : self.stride[1]]

    def forward(self, inputs: Array) -> Array:
        self._pictures = inputs.transpose(1, 2, 3, 0)
        require_room(self._pictures, self.kernel)
        self._largest = self._pixels(self._pictures, 0, 0).copy(order="K")
        for row, column in list(np.ndindex(self.kernel))[1:]:
            np.maximum(self._largest, self._pixels(self._pictures, row, column), out=self._largest)
        return self._largest.transpose(3, 0, 1, 2)

    def backward_input(self, grad_output: Array) -> Array:
        """The gradient goes to the pixel that was the largest; between equals, to the first, as in PyTorch."""
        gradient, grad_largest = np.zeros_like(self._pictures), grad_output.transpose(1, 2, 3, 0)
        unclaimed = np.ones_like(self._largest, bool)
        for row, column in np.ndindex(self.kernel):
            chosen = self._pixels(self._pictures, row, column) == self._largest
            chosen &= unclaimed
            unclaimed ^= chosen
            place = self._pixels(gradient, row, column)
            if self.overlap:
                place += grad_largest * chosen
            else:
                np.multiply(grad_largest, chosen, out=place)
        return gradient.transpose(3, 0, 1, 2)
