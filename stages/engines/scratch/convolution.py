"""Convolution of images and feature maps (N, channels, height, width), "NCHW".

In memory, Conv2d works on (height, channels, width, N), "HCWN".
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from stages.engines.scratch.layers import Array, Module
from stages.engines.scratch.windows import Pair, check_window_fits, hcwn_to_nchw, nchw_to_hcwn, pair

BLOCK = 256 * 1024  # elements of the columns that col2im adds up at a time


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
        """∂L/∂X, some rows at a time, so that what is summed stays in the processor's cache.

        A pixel is in several columns of im2col, and its gradient is the sum over them (col2im).
        """
        gradient, (top, left) = self._as_matrices(grad_output), self.padding
        height, channels, width, batch_size = self._padded_shape
        kernel_width, stride_x = self.kernel_size[1], self.stride[1]
        depth, columns = channels * kernel_width, gradient.shape[2]
        weights = self._weights_by_phase()
        grad_padded: Array = np.zeros(self._padded_shape, gradient.dtype)
        grad_columns = np.empty((min(height, max(1, BLOCK // (depth * columns))), depth, columns), gradient.dtype)
        for start in range(top, height - top, len(grad_columns)):
            rows = grad_padded[start : min(start + len(grad_columns), height - top)]
            for row, grad_row_columns in enumerate(grad_columns[: len(rows)], start):
                self._grad_row_columns(row, weights, gradient, grad_row_columns)
            terms = grad_columns[: len(rows)].reshape(len(rows), channels, kernel_width, -1, batch_size)
            for column in range(kernel_width):
                rows[:, :, column : column + stride_x * terms.shape[3] : stride_x] += terms[:, :, column]
        return hcwn_to_nchw(grad_padded[top : height - top, :, left : width - left])

    def _weights_by_phase(self) -> list[Array]:
        """For each remainder of a row divided by the stride, the kernel rows with that remainder, the last one first.

        Each is (in_channels · kernel width, rows · out_channels).
        """
        weight, stride_y = self.parameters["weight"].transpose(1, 3, 2, 0), self.stride[0]
        phases = [weight[:, :, phase::stride_y][:, :, ::-1] for phase in range(stride_y)]
        return [each.reshape(len(weight) * weight.shape[1], each.shape[2] * self.out_channels) for each in phases]

    def _grad_row_columns(self, row: int, weights: list[Array], gradient: Array, out: Array) -> None:
        """Σᵢ Wᵢᵀ Gᵧ over kernel rows i and output rows y with ``row`` = y · stride + i.

        Such rows of G are consecutive, and so are those of W, so the sum is one matrix product.
        """
        last, phase = divmod(row, self.stride[0])  # the last output row; its kernel row is the last of the phase
        weight = weights[phase]
        first = last + 1 - weight.shape[1] // self.out_channels
        rows = range(max(0, first), min(last + 1, len(gradient)))
        weight = weight[:, (rows.start - first) * self.out_channels : (rows.stop - first) * self.out_channels]
        np.matmul(weight, gradient[rows.start : rows.stop].reshape(-1, gradient.shape[2]), out=out)
