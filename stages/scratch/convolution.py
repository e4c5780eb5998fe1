"""Convolution and pooling of pictures (N, channels, height, width)."""

import numpy as np

from stages.scratch.layers import Array, Layer

Pair = tuple[int, int]


def pair(value: int | Pair) -> Pair:
    """One number stands for height and width alike."""
    return value if isinstance(value, tuple) else (value, value)


class Windows:
    """How a window of ``kernel`` pixels moves over a picture in steps of ``stride``."""

    def __init__(self, kernel: Pair, stride: Pair, height: int, width: int) -> None:
        self.kernel, self.stride = kernel, stride
        self.height, self.width = (height - kernel[0]) // stride[0] + 1, (width - kernel[1]) // stride[1] + 1
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

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        weight: dict[str, tuple[int, ...]] = {"weight": (self.out_channels, self.in_channels, *self.kernel)}
        return weight | {"bias": (self.out_channels,)} if self.bias else weight

    def forward(self, inputs: Array) -> Array:
        pictures = self._padded(inputs.transpose(1, 2, 3, 0))
        self._shape, self._windows = pictures.shape, Windows(self.kernel, self.stride, *pictures.shape[1:3])
        self._patches = self._gather(pictures)
        outputs = self._matrix() @ self._patches
        if self.bias:
            outputs += self.parameters["bias"][:, None]
        shape = (self.out_channels, self._windows.height, self._windows.width, len(inputs))
        return outputs.reshape(shape).transpose(3, 0, 1, 2)

    def _matrix(self) -> Array:
        """W as (out_channels, in_channels · kernel pixels)."""
        return self.parameters["weight"].reshape(self.out_channels, -1)

    def _padded(self, pictures: Array) -> Array:
        """(channels, height, width, N) with a border of zeros, in that order in memory."""
        (top, left), (channels, height, width, count) = self.padding, pictures.shape
        padded = np.zeros((channels, height + 2 * top, width + 2 * left, count), pictures.dtype)
        padded[:, top : top + height, left : left + width] = pictures
        return padded

    def _gather(self, pictures: Array) -> Array:
        """P: each of its rows is one pixel of every window."""
        windows, count = self._windows, pictures.shape[-1]
        patches = np.empty((self.in_channels, *self.kernel, windows.height, windows.width, count), pictures.dtype)
        for row, column in np.ndindex(self.kernel):
            patches[:, row, column] = windows.pixels(pictures, row, column)
        return patches.reshape(-1, windows.height * windows.width * count)

    def backward_parameters(self, grad_output: Array) -> None:
        """∂L/∂W = G Pᵀ and ∂L/∂b = the sum of G's rows, with G = ``grad_output`` as (out_channels, windows)."""
        gradient = self._rows(grad_output)
        np.matmul(gradient, self._patches.T, out=self.gradients["weight"].reshape(self.out_channels, -1))
        if self.bias:
            np.sum(gradient, axis=1, out=self.gradients["bias"])

    def _rows(self, grad_output: Array) -> Array:
        return grad_output.transpose(1, 2, 3, 0).reshape(self.out_channels, -1)

    def backward_input(self, grad_output: Array) -> Array:
        """∂L/∂P = Wᵀ G; a pixel stands in several windows, so its gradient is the sum of its places in P."""
        patches = (self._matrix().T @ self._rows(grad_output)).reshape(
            self.in_channels, *self.kernel, self._windows.height, self._windows.width, -1
        )
        padded = np.zeros(self._shape, grad_output.dtype)
        for row, column in np.ndindex(self.kernel):
            self._windows.pixels(padded, row, column)[...] += patches[:, row, column]
        (top, left), (_, height, width, _) = self.padding, self._shape
        return padded[:, top : height - top, left : width - left].transpose(3, 0, 1, 2)


class MaxPool2d(Layer):
    """The largest pixel of each window, whose steps are its own size unless ``stride`` says otherwise."""

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None) -> None:
        super().__init__()
        self.kernel = pair(kernel_size)
        self.stride = self.kernel if stride is None else pair(stride)

    def forward(self, inputs: Array) -> Array:
        self._pictures = inputs.transpose(1, 2, 3, 0)
        self._windows = Windows(self.kernel, self.stride, *inputs.shape[2:])
        self._largest = self._windows.pixels(self._pictures, 0, 0).copy(order="K")
        for row, column in np.ndindex(self.kernel):
            np.maximum(self._largest, self._windows.pixels(self._pictures, row, column), out=self._largest)
        return self._largest.transpose(3, 0, 1, 2)

    def backward_input(self, grad_output: Array) -> Array:
        """The gradient goes to the pixel that was the largest; between equals, to the first, as in PyTorch."""
        gradient = np.zeros_like(self._pictures)
        unclaimed = np.ones_like(self._largest, bool)
        for row, column in np.ndindex(self.kernel):
            chosen = self._windows.pixels(self._pictures, row, column) == self._largest
            chosen &= unclaimed
            unclaimed ^= chosen
            self._windows.pixels(gradient, row, column)[...] += grad_output.transpose(1, 2, 3, 0) * chosen
        return gradient.transpose(3, 0, 1, 2)
