"""Convolution and pooling of pictures (N, channels, height, width)."""

import numpy as np
from numpy.typing import DTypeLike

from stages.scratch.layers import Array, Layer
from stages.scratch.parallel import in_pieces

Pair = tuple[int, int]


def pair(value: int | Pair) -> Pair:
    """One number stands for height and width alike."""
    return value if isinstance(value, tuple) else (value, value)


class Windows:
    """How a window of ``kernel`` pixels moves over a picture in steps of ``stride``."""

    def __init__(self, kernel: Pair, stride: Pair, height: int, width: int) -> None:
        self.kernel, self.stride = kernel, stride
        self.height, self.width = (height - kernel[0]) // stride[0] + 1, (width - kernel[1]) // stride[1] + 1
        self.overlap = stride[0] < kernel[0] or stride[1] < kernel[1]
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a window of {kernel} does not fit into a picture of {(height, width)}")

    def pixels(self, pictures: Array, row: int, column: int) -> Array:
        """The pixel at (row, column) of every window, as a view (channels, height, width, N) of the pictures."""
        rows = slice(row, row + self.stride[0] * self.height, self.stride[0])
        columns = slice(column, column + self.stride[1] * self.width, self.stride[1])
        return pictures[:, rows, columns]


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
        self._shape, windows = pictures.shape, Windows(self.kernel, self.stride, *pictures.shape[1:3])
        self._windows, pixels = windows, (windows.height, windows.width, len(inputs))
        self._patches = _memory(self._patches, (self.in_channels, *self.kernel, *pixels), pictures.dtype)
        outputs = np.empty((self.out_channels, *pixels), pictures.dtype)
        weight = self._matrix()

        def convolve(rows: slice) -> None:
            for row, column in np.ndindex(self.kernel):
                self._patches[:, row, column, rows] = windows.pixels(pictures, row, column)[:, rows]
            patches = self._patches[:, :, :, rows].reshape(weight.shape[1], -1)
            product = outputs[:, rows].reshape(self.out_channels, -1)  # a view, as is patches
            np.matmul(weight, patches, out=product)
            if self.bias:
                product += self.parameters["bias"][:, None]

        in_pieces(windows.height, convolve)
        return outputs.transpose(3, 0, 1, 2)

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
        gradient = grad_output.transpose(1, 2, 3, 0)

        def share(rows: slice) -> Array:
            patches = self._patches[:, :, :, rows].reshape(self._matrix().shape[1], -1)
            product: Array = gradient[:, rows].reshape(self.out_channels, -1) @ patches.T
            return product

        shares = in_pieces(self._windows.height, share)
        np.sum(shares, axis=0, out=self.gradients["weight"].reshape(self.out_channels, -1))
        if self.bias:
            np.sum(gradient, axis=(1, 2, 3), out=self.gradients["bias"])

    def backward_input(self, grad_output: Array) -> Array:
        """∂L/∂P = Wᵀ G; a pixel stands in several windows, so its gradient is the sum of its places in P."""
        gradient = grad_output.transpose(1, 2, 3, 0).reshape(self.out_channels, -1)
        self._grad_patches = _memory(self._grad_patches, self._patches.shape, gradient.dtype)
        padded = np.zeros(self._shape, gradient.dtype)

        def scatter(channels: slice) -> None:
            patches = self._grad_patches[channels]
            weight = self.parameters["weight"][:, channels].reshape(self.out_channels, -1)
            np.matmul(weight.T, gradient, out=patches.reshape(weight.shape[1], -1))
            for row, column in np.ndindex(self.kernel):
                self._windows.pixels(padded[channels], row, column)[...] += patches[:, row, column]

        in_pieces(self.in_channels, scatter)
        (top, left), (_, height, width, _) = self.padding, self._shape
        return padded[:, top : height - top, left : width - left].transpose(3, 0, 1, 2)


def _memory(array: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """The array itself where it fits, else a new one: large memory is slow to get."""
    return array if (array.shape, array.dtype) == (shape, dtype) else np.empty(shape, dtype)


class MaxPool2d(Layer):
    """The largest pixel of each window, whose steps are its own size unless ``stride`` says otherwise."""

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None) -> None:
        super().__init__()
        self.kernel = pair(kernel_size)
        self.stride = self.kernel if stride is None else pair(stride)

    def forward(self, inputs: Array) -> Array:
        self._pictures = inputs.transpose(1, 2, 3, 0)
        self._windows = Windows(self.kernel, self.stride, *inputs.shape[2:])
        self._largest = np.empty_like(self._windows.pixels(self._pictures, 0, 0))

        def pool(channels: slice) -> None:
            pictures, largest = self._pictures[channels], self._largest[channels]
            largest[...] = self._windows.pixels(pictures, 0, 0)
            for row, column in list(np.ndindex(self.kernel))[1:]:
                np.maximum(largest, self._windows.pixels(pictures, row, column), out=largest)

        in_pieces(len(self._pictures), pool)
        return self._largest.transpose(3, 0, 1, 2)

    def backward_input(self, grad_output: Array) -> Array:
        """The gradient goes to the pixel that was the largest; between equals, to the first, as in PyTorch."""
        gradient = np.zeros_like(self._pictures)
        grad_largest = grad_output.transpose(1, 2, 3, 0)

        def scatter(channels: slice) -> None:
            pictures, largest = self._pictures[channels], self._largest[channels]
            unclaimed = np.ones_like(largest, bool)
            for row, column in np.ndindex(self.kernel):
                chosen = self._windows.pixels(pictures, row, column) == largest
                chosen &= unclaimed
                unclaimed ^= chosen
                place = self._windows.pixels(gradient[channels], row, column)
                if self._windows.overlap:
                    place += grad_largest[channels] * chosen
                else:
                    np.multiply(grad_largest[channels], chosen, out=place)

        in_pieces(len(self._pictures), scatter)
        return gradient.transpose(3, 0, 1, 2)
