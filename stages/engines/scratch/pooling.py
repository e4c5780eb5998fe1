"""Pooling of feature maps (N, channels, height, width), each window of each channel to one number.

In memory, it works on (height, channels, width, N), as convolution does.
"""

import math

import numpy as np
from numpy.typing import NDArray

from stages.engines.scratch.layers import Array, Module
from stages.engines.scratch.windows import Pair, check_window_fits, hcwn_to_nchw, nchw_to_hcwn, pair


class _Pool2d(Module):
    """``kernel_size`` is the window's; ``stride`` defaults to it."""

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None) -> None:
        super().__init__()
        self.kernel_size = pair(kernel_size)
        self.stride = self.kernel_size if stride is None else pair(stride)

    def _pixels(self, x: Array, row: int, column: int) -> Array:
        """The pixel at (row, column) of every window, as a view (height, channels, width, N)."""
        bottom, right = x.shape[0] - self.kernel_size[0] + row + 1, x.shape[2] - self.kernel_size[1] + column + 1
        return x[row : bottom : self.stride[0], :, column : right : self.stride[1]]

    def _reduce(self, x: Array, ufunc: np.ufunc) -> Array:
        """Combine the pixels of each window, as with np.add. Raises ValueError when no window fits."""
        check_window_fits(x, self.kernel_size)
        result = self._pixels(x, 0, 0).copy(order="K")
        for row, column in list(np.ndindex(self.kernel_size))[1:]:
            ufunc(result, self._pixels(x, row, column), out=result)
        return result


class MaxPool2d(_Pool2d):
    """The maximum of each window; ``stride`` defaults to the window's size."""

    def forward(self, x: Array) -> Array:
        x = nchw_to_hcwn(x)
        maximum = self._reduce(x, np.maximum)
        self._shape, self._is_max = x.shape, list[NDArray[np.bool_]]()
        unassigned = np.ones_like(maximum, bool)
        for row, column in list(np.ndindex(self.kernel_size))[:-1]:
            is_max = self._pixels(x, row, column) == maximum
            is_max &= unassigned
            unassigned ^= is_max
            self._is_max.append(is_max)
        self._is_max.append(unassigned)  # the last pixel, where no other is the maximum
        return hcwn_to_nchw(maximum)

    def backward_input(self, grad_output: Array) -> Array:
        """The gradient goes to the pixel that was the maximum; on a tie to the first, as in PyTorch."""
        gradient, grad_max = np.zeros(self._shape, grad_output.dtype), nchw_to_hcwn(grad_output)
        overlaps = self.stride[0] < self.kernel_size[0] or self.stride[1] < self.kernel_size[1]
        for (row, column), is_max in zip(np.ndindex(self.kernel_size), self._is_max, strict=True):
            grad_pixels = self._pixels(gradient, row, column)
            if overlaps:
                grad_pixels += grad_max * is_max
            else:
                np.multiply(grad_max, is_max, out=grad_pixels)
        return hcwn_to_nchw(gradient)


class AvgPool2d(_Pool2d):
    """The mean of each window; ``stride`` defaults to the window's size.

    A window as large as the feature maps is global average pooling (Lin et al. 2014).
    """

    def forward(self, x: Array) -> Array:
        self._x = nchw_to_hcwn(x)
        mean = self._reduce(self._x, np.add)
        mean /= math.prod(self.kernel_size)
        return hcwn_to_nchw(mean)

    def backward_input(self, grad_output: Array) -> Array:
        """∂L/∂x = G / n for each of a window's n pixels, with G = ``grad_output``; summed where windows overlap."""
        gradient, grad_pixel = np.zeros_like(self._x), nchw_to_hcwn(grad_output) / math.prod(self.kernel_size)
        for row, column in np.ndindex(self.kernel_size):
            grad_pixels = self._pixels(gradient, row, column)
            grad_pixels += grad_pixel
        return hcwn_to_nchw(gradient)
