"""Convolution and pooling of images and feature maps (N, channels, height, width), "NCHW".

In memory, Conv2d works on (height, channels, width, N), "HCWN".
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from stages.engines.scratch.layers import Array, Module

Pair = tuple[int, int]


def pair(value: int | Pair) -> Pair:
    """One number stands for height and width alike."""
    return value if isinstance(value, tuple) else (value, value)


def nchw_to_hcwn(x: Array) -> Array:
    """(N, channels, height, width) as a view (height, channels, width, N)."""
    return x.transpose(2, 1, 3, 0)


def hcwn_to_nchw(x: Array) -> Array:
    """(height, channels, width, N) as a view (N, channels, height, width)."""
    return x.transpose(3, 1, 0, 2)


def check_window_fits(x: Array, window: Pair) -> None:
    """Raise ValueError when ``x`` (height, channels, width, N) is smaller than the window (height, width)."""
    if x.shape[0] < window[0] or x.shape[2] < window[1]:
        raise ValueError(f"a window of {window} does not fit into an input of {x.shape[::2]}")


class Conv2d(Module):
    """Y[n, o] = b[o] + Σ over c, i, j of W[o, c, i, j] X[n, c, y·stride + i, x·stride + j], on zero-padded input.

    Weight W is (out_channels, in_channels, kernel height, kernel width), bias b (out_channels,).

    With im2col, which copies every window of the input into a column of a matrix, a convolution is one matrix product,
    and so are its gradients (Chellapilla et al. 2006). Windows overlap, so im2col copies each value up to kernel height
    · kernel width times; here it runs along the width alone, and copies it kernel width times, into (height ·
    in_channels · kernel width, width · N). With the image rows outermost, the columns of output row y are a block of
    consecutive matrix rows, Pᵧ, (kernel height · in_channels · kernel width, width · N), a view: Yᵧ = W Pᵧ + b.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.has_bias = in_channels, out_channels, bias
        self.kernel_size, self.stride, self.padding = pair(kernel_size), pair(stride), pair(padding)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        weight: dict[str, tuple[int, ...]] = {"weight": (self.out_channels, self.in_channels, *self.kernel_size)}
        return weight | {"bias": (self.out_channels,)} if self.has_bias else weight

    def forward(self, x: Array) -> Array:
        padded = self._pad(nchw_to_hcwn(x))
        check_window_fits(padded, self.kernel_size)
        (kernel_height, kernel_width), (stride_y, stride_x) = self.kernel_size, self.stride
        windows = sliding_window_view(padded, kernel_width, axis=2)[:, :, ::stride_x].transpose(0, 1, 4, 2, 3)
        self._padded_shape, (height, *_, width, batch_size) = padded.shape, windows.shape
        depth = self.in_channels * kernel_width
        columns = windows.reshape(height * depth, width * batch_size)
        row_columns = sliding_window_view(columns, kernel_height * depth, axis=0)[:: stride_y * depth]
        self._columns = row_columns.transpose(0, 2, 1)
        outputs = np.matmul(self._weight_matrix(), self._columns)
        if self.has_bias:
            outputs += self.parameters["bias"][:, None]
        return hcwn_to_nchw(outputs.reshape(len(outputs), self.out_channels, width, batch_size))

    def _weight_matrix(self) -> Array:
        """W as (out_channels, kernel height · in_channels · kernel width)."""
        return self.parameters["weight"].transpose(0, 2, 1, 3).reshape(self.out_channels, -1)

    def _pad(self, x: Array) -> Array:
        """Copy (height, channels, width, N) into a border of zeros."""
        (top, left), (height, channels, width, batch_size) = self.padding, x.shape
        padded = np.zeros((height + 2 * top, channels, width + 2 * left, batch_size), x.dtype)
        padded[top : top + height, :, left : left + width] = x
        return padded

    def backward_parameters(self, grad_output: Array) -> None:
        """∂L/∂W = Σᵧ Gᵧ Pᵧᵀ and ∂L/∂b = Σ G over examples and pixels, with Gᵧ = row y of ``grad_output``."""
        gradient = self._as_matrices(grad_output)
        grad_matrix = np.matmul(self._columns, gradient.transpose(0, 2, 1)).sum(axis=0).T
        kernel_height, kernel_width = self.kernel_size
        grad_weight = grad_matrix.reshape(self.out_channels, kernel_height, self.in_channels, kernel_width)
        self.gradients["weight"][...] = grad_weight.transpose(0, 2, 1, 3)
        if self.has_bias:
            np.sum(gradient, axis=(0, 2), out=self.gradients["bias"])

    def _as_matrices(self, grad_output: Array) -> Array:
        """G as (height, out_channels, width · N), one matrix per output row."""
        gradient = nchw_to_hcwn(grad_output)
        return gradient.reshape(*gradient.shape[:2], -1)

    def backward_input(self, grad_output: Array) -> Array:
        """∂L/∂Pᵧ = Wᵀ Gᵧ, then col2im: a pixel is in several windows, and its gradient is the sum over them."""
        gradient, (kernel_height, kernel_width) = self._as_matrices(grad_output), self.kernel_size
        height, channels, _, batch_size = self._padded_shape
        out_height, out_width = grad_output.shape[2:]
        grad_columns = np.zeros((height, channels * kernel_width, out_width * batch_size), grad_output.dtype)
        weights = self._weight_matrix().reshape(self.out_channels, kernel_height, -1).transpose(1, 2, 0)
        for row, weight in enumerate(weights):
            grad_columns[row : row + self.stride[0] * out_height : self.stride[0]] += np.matmul(weight, gradient)
        grad_columns = grad_columns.reshape(height, channels, kernel_width, out_width, batch_size)
        grad_padded: Array = np.zeros(self._padded_shape, grad_output.dtype)
        for column in range(kernel_width):
            pixels = slice(column, column + self.stride[1] * out_width, self.stride[1])
            grad_padded[:, :, pixels] += grad_columns[:, :, column]
        top, left = self.padding
        return hcwn_to_nchw(grad_padded[top : height - top, :, left : grad_padded.shape[2] - left])


class MaxPool2d(Module):
    """The maximum of each window; ``stride`` defaults to the window's size."""

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None) -> None:
        super().__init__()
        self.kernel_size = pair(kernel_size)
        self.stride = self.kernel_size if stride is None else pair(stride)
        self._overlaps = self.stride[0] < self.kernel_size[0] or self.stride[1] < self.kernel_size[1]

    def _pixels(self, x: Array, row: int, column: int) -> Array:
        """The pixel at (row, column) of every window, as a view (height, channels, width, N)."""
        bottom, right = x.shape[0] - self.kernel_size[0] + row + 1, x.shape[2] - self.kernel_size[1] + column + 1
        return x[row : bottom : self.stride[0], :, column : right : self.stride[1]]

    def forward(self, x: Array) -> Array:
        self._x = nchw_to_hcwn(x)
        check_window_fits(self._x, self.kernel_size)
        self._max = self._pixels(self._x, 0, 0).copy(order="K")
        for row, column in list(np.ndindex(self.kernel_size))[1:]:
            np.maximum(self._max, self._pixels(self._x, row, column), out=self._max)
        return hcwn_to_nchw(self._max)

    def backward_input(self, grad_output: Array) -> Array:
        """The gradient goes to the pixel that was the maximum; on a tie to the first, as in PyTorch."""
        gradient, grad_max = np.zeros_like(self._x), nchw_to_hcwn(grad_output)
        unassigned = np.ones_like(self._max, bool)
        for row, column in np.ndindex(self.kernel_size):
            is_max = self._pixels(self._x, row, column) == self._max
            is_max &= unassigned
            unassigned ^= is_max
            grad_pixels = self._pixels(gradient, row, column)
            if self._overlaps:
                grad_pixels += grad_max * is_max
            else:
                np.multiply(grad_max, is_max, out=grad_pixels)
        return hcwn_to_nchw(gradient)
