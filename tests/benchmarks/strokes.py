"""Digits of 28x28 pixels as strokes with sharp edges, which can be drawn at any size."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

CELLS = 12  # for each pixel of a digit, along either side
SMOOTHING = 3.0  # cells, over the steps of the outline
EDGE = 0.4  # of a pixel covered: less would join strokes, more would tear thin ones
MARGIN = 3 * CELLS

Mask = NDArray[np.bool_]
Field = NDArray[np.float32]


class Strokes(NamedTuple):
    """The signed distance of points from the edge of the ink, negative inside; all lengths in heights of the digit.

    Row and column r, c of ``distance`` lie at ((c, r) − ``center``) / ``height``, with (0, 0) in the middle of the ink.
    """

    distance: Field
    center: tuple[float, float]
    height: float

    def outline(self) -> NDArray[np.float64]:
        """The points x, y of the ink, (N, 2)."""
        rows, columns = np.nonzero(self.distance < 0)
        return np.stack([columns - self.center[0], rows - self.center[1]], axis=1) / self.height

    def at(self, x: Field, y: Field) -> Field:
        """The signed distance at points; far from the ink, that of the nearest known point."""
        points = np.stack([y * self.height + self.center[1], x * self.height + self.center[0]])
        distance: Field = ndimage.map_coordinates(self.distance, points, order=1, mode="nearest")
        return distance


def from_digit(digit: NDArray[np.uint8], pen: float | None = None) -> Strokes:
    """A digit's own strokes, or lines as wide as ``pen``, in heights of the digit, along the middle of them."""
    return _to_strokes(_ink(digit), pen)


def from_digits(digits: NDArray[np.uint8], generator: np.random.Generator) -> Strokes:
    """Digits beside each other, a little up or down, with gaps of 0.2 to 0.6 of a height."""
    inks = [_ink(digit) for digit in digits]
    height = max(len(ink) for ink in inks)
    rows = 2 * height
    strip = [np.zeros((rows, 1), bool)]
    for ink in inks:
        top = (rows - len(ink)) // 2 + round(generator.uniform(-0.1, 0.1) * height)
        below = rows - top - len(ink)
        strip.append(np.pad(ink, ((top, below), (0, round(generator.uniform(0.2, 0.6) * height)))))
    return _to_strokes(_crop(np.concatenate(strip, axis=1)), None, height)


def _ink(digit: NDArray[np.uint8]) -> Mask:
    """Where the digit is, cropped to it, in cells."""
    smooth = ndimage.zoom(np.pad(digit, 1) / 255, CELLS, order=3, mode="grid-constant", grid_mode=True)
    return _crop(smooth > EDGE)


def _crop(ink: Mask) -> Mask:
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _to_strokes(ink: Mask, pen: float | None, height: int | None = None) -> Strokes:
    height = height or max(ink.shape)
    padded = np.pad(ink, MARGIN)
    if pen is None:
        distance = ndimage.distance_transform_edt(~padded) - ndimage.distance_transform_edt(padded)
    else:
        distance = ndimage.distance_transform_edt(~_skeleton(padded))
    distance = ndimage.gaussian_filter(distance, SMOOTHING) / height - (pen or 0) / 2
    center = ((padded.shape[1] - 1) / 2, (padded.shape[0] - 1) / 2)
    return Strokes(distance.astype(np.float32), center, height)


def _removable(first: bool) -> Mask:
    """Whether a cell of ink may go, for each of the 256 neighborhoods: bit 0 is the one above, then clockwise."""
    p = np.arange(256)[:, None] >> np.arange(8) & 1 == 1
    count = p.sum(axis=1)
    steps = np.sum(~p & np.roll(p, -1, axis=1), axis=1)  # from paper to ink, once around
    north, east, south, west = p[:, 0], p[:, 2], p[:, 4], p[:, 6]
    kept = east & south & (north | west) if first else north & west & (east | south)
    removable: Mask = (2 <= count) & (count <= 6) & (steps == 1) & ~kept
    return removable


_NEIGHBORS = ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))  # shifts that bring each here
_PASSES = (_removable(first=True), _removable(first=False))


def _skeleton(ink: Mask) -> Mask:
    """The middle line of strokes, one cell wide (Zhang & Suen 1984, "A fast parallel algorithm for thinning ...")."""
    skeleton, remaining, before = ink.copy(), ink.sum(), 0
    while remaining != before:
        before = remaining
        for removable in _PASSES:
            cells = skeleton.astype(np.uint8)
            neighborhood = np.zeros_like(cells)
            for bit, shift in enumerate(_NEIGHBORS):
                neighborhood |= np.roll(cells, shift, (0, 1)) << bit
            skeleton &= ~removable[neighborhood]
        remaining = skeleton.sum()
    return skeleton
