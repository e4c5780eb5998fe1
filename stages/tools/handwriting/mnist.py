"""The form of MNIST's images: bright ink on black, 20 pixels long, the center of mass in the middle of 28 x 28.

As its makers describe it (LeCun et al. 1998, section III.A). All 70,000 images have it: the longer side of the ink's
bounding box is 20 pixels, of 16 images 19, and the center of mass rounds to row and column 14.
web/prepare.js of the drawing page computes the same.
"""

import math

import numpy as np
from numpy.typing import NDArray

from stages.pipeline.classifier import IMAGE_SHAPE, WHITE

Ink = NDArray[np.float64]  # (height, width), from 0 for paper to 1 for ink
Pixels = NDArray[np.uint8]  # (28, 28), from 0 for black to 255 for white

SIDE, BOX, CENTER = IMAGE_SHAPE[0], 20, IMAGE_SHAPE[0] // 2
TINY = 1e-6  # more than the error of a sum
FINE = 4  # strokes are thickened on a grid with so many points a pixel
THIN, THICKENED = 1.5, 2.0  # pixels: thinner strokes than all but 2 % of MNIST's are thickened to what is common there


def is_mnist(pixels: Pixels) -> bool:
    """Whether pixels (28, 28) have MNIST's form already; they must then not be changed."""
    rows, columns = np.nonzero(pixels)
    if not len(rows):
        return False
    longest = max(np.ptp(rows), np.ptp(columns)) + 1
    center = center_of_mass(pixels.astype(float))
    return bool(BOX - 1 <= longest <= BOX and all(abs(each - CENTER) < 0.55 for each in center))


def to_mnist(ink: Ink) -> Pixels:
    """Scale one digit, cut out at its bounding box, and put its center of mass in the middle."""
    longest = max(ink.shape)
    height, width = (max(1, round_half_up(BOX * length / longest)) for length in ink.shape)
    fine = thicken(area_average(ink, height * FINE, width * FINE))
    digit = area_average(fine, height, width)
    digit /= digit.max()
    row, column = (round_half_up(CENTER - each) for each in center_of_mass(digit))
    return place(digit, row, column)


def place(digit: Ink, row: int, column: int) -> Pixels:
    """Put a digit on a black image, its first pixel at ``row`` and ``column``; what lies outside is cut off."""
    margin = SIDE
    canvas = np.zeros((SIDE + 2 * margin, SIDE + 2 * margin))
    canvas[margin + row :, margin + column :][: digit.shape[0], : digit.shape[1]] = digit
    return np.floor(WHITE * canvas[margin:-margin, margin:-margin] + 0.5 + TINY).astype(np.uint8)


def area_average(ink: Ink, height: int, width: int) -> Ink:
    """Resize: each new pixel is the mean of the area that it covers."""
    rows, columns = coverage(ink.shape[0], height), coverage(ink.shape[1], width)
    averages: Ink = rows @ ink @ columns.T
    return averages


def coverage(old: int, new: int) -> NDArray[np.float64]:
    """The fraction of each of ``new`` equal intervals that each of ``old`` ones makes up, (new, old)."""
    starts, ends = np.arange(new) * (old / new), np.arange(1, new + 1) * (old / new)
    overlap = np.minimum(ends[:, None], np.arange(1, old + 1)) - np.maximum(starts[:, None], np.arange(old))
    fractions: NDArray[np.float64] = np.maximum(overlap, 0) * (new / old)
    return fractions


def thicken(fine: Ink) -> Ink:
    """Widen the strokes of a thin pen, which would fade when scaled down: gray dilation by a disk."""
    width = stroke_width(fine) / FINE
    if width >= THIN:
        return fine
    radius = FINE * (THICKENED - width) / 2
    reach = math.ceil(radius)
    padded, thickened = np.pad(fine, reach), np.zeros_like(fine)
    for row in range(-reach, reach + 1):
        for column in range(-reach, reach + 1):
            if row * row + column * column <= radius * radius:
                part = padded[reach + row :, reach + column :][: fine.shape[0], : fine.shape[1]]
                np.maximum(thickened, part, out=thickened)
    return thickened


def stroke_width(ink: Ink) -> float:
    """The mean width of the strokes in pixels: twice the area over the perimeter of what is at least half ink.

    Steps along rows and columns overestimate a perimeter, over all directions by 4 / π.
    """
    mask = np.pad(ink >= 0.5 * ink.max(), 1).astype(np.int8)
    steps = np.abs(np.diff(mask, axis=0)).sum() + np.abs(np.diff(mask, axis=1)).sum()
    return float(2 * mask.sum() / (steps * math.pi / 4))


def center_of_mass(image: Ink) -> tuple[float, float]:
    """Row and column."""
    total = image.sum()
    rows, columns = np.arange(image.shape[0]), np.arange(image.shape[1])
    return float(image.sum(axis=1) @ rows / total), float(image.sum(axis=0) @ columns / total)


def round_half_up(value: float) -> int:
    """A half is one also where it was computed with an error: symmetric digits have their center of mass at one."""
    return math.floor(value + 0.5 + TINY)
