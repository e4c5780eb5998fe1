"""Convolution and pooling of pictures (N, channels, height, width)."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from stages.engines.scratch.layers import Array, Layer

Pair = tuple[int, int]


def pair(value: int | Pair) -> Pair:
    """One number stands for height and width alike."""
    return value if isinstance(value, tuple) else (value, value)


def to_rows(pictures: Array) -> Array:
    """Pictures (N, channels, height, width) as a view (height, channels, width, N), the order of Conv2d in memory."""
    return pictures.transpose(2, 1, 3, 0)


def from_rows(rows: Array) -> Array:
    """A view of (height, channels, width, N) as pictures (N, channels, height, width)."""
    return rows.transpose(3, 1, 0, 2)


class Conv2d(Layer):
    """Y[n, o] = b[o] + Σ over c, i, j of W[o, c, i, j] X[n, c, y·stride + i, x·stride + j], on pictures padded with 0.

    Weight W is (out_channels, in_channels, kernel height, kernel width), bias b (out_channels,).

    A convolution is a matrix product, W as a matrix times all windows of the pictures as columns (Chellapilla et al.
    2006), and so are its gradients. Windows overlap; here only their columns are copied: the strips P, (height,
    in_channels · kernel width, width · N), hold for each row of the pictures what its windows take from it. With the
    rows outermost in memory, the windows of output row y are then kernel-height strips one after the other, Pᵧ, a
    matrix (kernel height · in_channels · kernel width, width · N) that is there already: Yᵧ = W Pᵧ + b.
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

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        weight: dict[str, tuple[int, ...]] = {"weight": (self.out_channels, self.in_channels, *self.kernel)}
        return weight | {"bias": (self.out_channels,)} if self.bias else weight

    def forward(self, inputs: Array) -> Array:
        rows = self._padded(to_rows(inputs))
        require_room(rows, self.kernel)
        columns = sliding_window_view(rows, self.kernel[1], axis=2)[:, :, :: self.stride[1]].transpose(0, 1, 4, 2, 3)
        self._shape, (height, *_, width, count) = rows.shape, columns.shape
        in_a_row = self.in_channels * self.kernel[1]
        strips = columns.reshape(height * in_a_row, width * count)
        windows = sliding_window_view(strips, self.kernel[0] * in_a_row, axis=0)[:: self.stride[0] * in_a_row]
        self._windows = windows.transpose(0, 2, 1)
        outputs = np.matmul(self._matrix(), self._windows)
        if self.bias:
            outputs += self.parameters["bias"][:, None]
        return from_rows(outputs.reshape(len(outputs), self.out_channels, width, count))

    def _matrix(self) -> Array:
        """W as (out_channels, kernel height · in_channels · kernel width)."""
        return self.parameters["weight"].transpose(0, 2, 1, 3).reshape(self.out_channels, -1)

    def _padded(self, rows: Array) -> Array:
        """(height, channels, width, N) with a border of zeros."""
        (top, left), (height, channels, width, count) = self.padding, rows.shape
        padded = np.zeros((height + 2 * top, channels, width + 2 * left, count), rows.dtype)
        padded[top : top + height, :, left : left + width] = rows
        return padded

    def backward_parameters(self, grad_output: Array) -> None:
        """∂L/∂W = Σᵧ Gᵧ Pᵧᵀ and ∂L/∂b = the sum of G's pixels, with Gᵧ = row y of ``grad_output``."""
        gradient = self._strips(grad_output)
        grad_matrix = np.matmul(self._windows, gradient.transpose(0, 2, 1)).sum(axis=0).T
        height, width = self.kernel
        grad_weight = grad_matrix.reshape(self.out_channels, height, self.in_channels, width)
        self.gradients["weight"][...] = grad_weight.transpose(0, 2, 1, 3)
        if self.bias:
            np.sum(gradient, axis=(0, 2), out=self.gradients["bias"])

    def _strips(self, grad_output: Array) -> Array:
        """G as (height, out_channels, width · N)."""
        rows = to_rows(grad_output)
        return rows.reshape(*rows.shape[:2], -1)

    def backward_input(self, grad_output: Array) -> Array:
        """∂L/∂Pᵧ = Wᵀ Gᵧ; a pixel stands in several windows, so its gradient is the sum of its places in P."""
        gradient, (height, channels, width, count) = self._strips(grad_output), self._shape
        rows, columns = len(gradient), to_rows(grad_output).shape[2]
        grad_strips = np.zeros((height, channels * self.kernel[1], columns * count), grad_output.dtype)
        for row, weight in enumerate(self._matrix().reshape(self.out_channels, self.kernel[0], -1).transpose(1, 2, 0)):
            grad_strips[row : row + self.stride[0] * rows : self.stride[0]] += np.matmul(weight, gradient)
        grad_strips = grad_strips.reshape(height, channels, self.kernel[1], columns, count)
        grad_rows = np.zeros(self._shape, grad_output.dtype)
        for column in range(self.kernel[1]):
            place = slice(column, column + self.stride[1] * columns, self.stride[1])
            grad_rows[:, :, place] += grad_strips[:, :, column]
        top, left = self.padding
        return from_rows(grad_rows[top : height - top, :, left : width - left])


def require_room(rows: Array, kernel: Pair) -> None:
    """Raise ValueError when pictures (height, channels, width, N) are smaller than the window."""
    if rows.shape[0] < kernel[0] or rows.shape[2] < kernel[1]:
        raise ValueError(f"a window of {kernel} does not fit into a picture of {rows.shape[::2]}")


class MaxPool2d(Layer):
    """The largest pixel of each window, whose steps are its own size unless ``stride`` says otherwise."""

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None) -> None:
        super().__init__()
        self.kernel = pair(kernel_size)
        self.stride = self.kernel if stride is None else pair(stride)
        self.overlap = self.stride[0] < self.kernel[0] or self.stride[1] < self.kernel[1]

    def _pixels(self, rows: Array, row: int, column: int) -> Array:
        """The pixel at (row, column) of every window, as a view (height, channels, width, N)."""
        bottom, right = rows.shape[0] - self.kernel[0] + row + 1, rows.shape[2] - self.kernel[1] + column + 1
        return rows[row : bottom : self.stride[0], :, column : right : self.stride[1]]

    def forward(self, inputs: Array) -> Array:
        self._rows = to_rows(inputs)
        require_room(self._rows, self.kernel)
        self._largest = self._pixels(self._rows, 0, 0).copy(order="K")
        for row, column in list(np.ndindex(self.kernel))[1:]:
            np.maximum(self._largest, self._pixels(self._rows, row, column), out=self._largest)
        return from_rows(self._largest)

    def backward_input(self, grad_output: Array) -> Array:
        """The gradient goes to the pixel that was the largest; between equals, to the first, as in PyTorch."""
        gradient, grad_largest = np.zeros_like(self._rows), to_rows(grad_output)
        unclaimed = np.ones_like(self._largest, bool)
        for row, column in np.ndindex(self.kernel):
            chosen = self._pixels(self._rows, row, column) == self._largest
            chosen &= unclaimed
            unclaimed ^= chosen
            place = self._pixels(gradient, row, column)
            if self.overlap:
                place += grad_largest * chosen
            else:
                np.multiply(grad_largest, chosen, out=place)
        return from_rows(gradient)
