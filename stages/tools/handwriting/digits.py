"""Which strokes are a digit: connected strokes are joined to digits, and digits ordered from left to right.

web/prepare.js of the drawing page computes the same.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from stages.pipeline.errors import PipelineError
from stages.tools.handwriting.mnist import Ink

FAINT, FIRM = 0.15, 0.5  # a stroke is connected ink of at least FAINT that is FIRM somewhere
TALL = 0.4  # of the tallest stroke's height: what is less tall is part of a digit, or a speck
NEAR = 0.15  # of that height: how far a part may be from the rest of its digit
BROKEN = 0.12  # of that height: the gap in a digit whose line was interrupted
SPECK = 0.01  # of the largest stroke's ink
FLAT = 0.2  # of that height: what is less tall, wide and beside a digit is a dash
WIDE = 0.85  # of its height: two digits that touch are at least so wide


class Box(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right``, the last ones excluded."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    def union(self, other: "Box") -> "Box":
        """The smallest box around both."""
        low, high = np.minimum(self, other), np.maximum(self, other)
        return Box(int(low[0]), int(high[1]), int(low[2]), int(high[3]))

    def gap(self, other: "Box") -> int:
        """Columns between both, negative where they overlap."""
        return max(self.left, other.left) - min(self.right, other.right)

    def distance(self, other: "Box") -> int:
        """Rows or columns between both, whichever are more."""
        return max(self.gap(other), max(self.top, other.top) - min(self.bottom, other.bottom))


class Digit(NamedTuple):
    """The labels of its strokes, and the box around them."""

    strokes: frozenset[int]
    box: Box

    def joined(self, other: "Digit") -> "Digit":
        """Both as one digit."""
        return Digit(self.strokes | other.strokes, self.box.union(other.box))


def split(ink: Ink, expected: int | None) -> list[Ink]:
    """Cut each digit out at its bounding box, from left to right.

    Raises PipelineError unless there are as many as expected; None expects any number but none.
    """
    labels, strokes = find_strokes(ink)
    digits = join_strokes(strokes)
    if not digits:
        raise PipelineError("blank: nothing is written on it")
    if expected is None:
        return [cut_out(ink, labels, digit) for digit in digits]
    digits = join_broken(digits, expected)
    pieces = [cut_out(ink, labels, digit) for digit in digits]
    if len(pieces) < expected:
        pieces = cut_touching(pieces, expected)
    if len(pieces) != expected:
        found = f"{len(digits)} digit{'s' if len(digits) > 1 else ''} found"
        raise PipelineError(f"{found}, {expected} expected; --digits says how many there are")
    return pieces


def find_strokes(ink: Ink) -> tuple[NDArray[np.signedinteger], list[Digit]]:
    """Label connected ink, diagonals included, and return what is no speck, each as a digit of its own."""
    labels, count = ndimage.label(ink >= FAINT, np.ones((3, 3)))
    if not count:
        return labels, []
    numbers = np.arange(1, count + 1)
    darkest, amounts = ndimage.maximum(ink, labels, numbers), ndimage.sum_labels(ink, labels, numbers)
    strokes = []
    largest = max((amount for amount, dark in zip(amounts, darkest, strict=True) if dark >= FIRM), default=0.0)
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        if darkest[number - 1] >= FIRM and amounts[number - 1] >= SPECK * largest:
            box = Box(rows.start, rows.stop, columns.start, columns.stop)
            strokes.append(Digit(frozenset([number]), box))
    return labels, strokes


def join_strokes(strokes: list[Digit]) -> list[Digit]:
    """Tall strokes that are side by side are digits; a small stroke belongs to the one that it is near, or to none."""
    tallest = max((stroke.box.height for stroke in strokes), default=0)
    in_order = sorted(strokes, key=lambda stroke: (stroke.box.left, stroke.box.top))
    digits: list[Digit] = []
    for stroke in (each for each in in_order if each.box.height >= TALL * tallest):
        if digits and -digits[-1].box.gap(stroke.box) >= min(digits[-1].box.width, stroke.box.width) / 2:
            stroke = digits.pop().joined(stroke)
        digits.append(stroke)
    for stroke in (each for each in in_order if each.box.height < TALL * tallest):
        distances = [digit.box.distance(stroke.box) for digit in digits]
        nearest = int(np.argmin(distances))
        is_flat = stroke.box.height < FLAT * tallest and stroke.box.width > 1.5 * stroke.box.height
        is_dash = is_flat and digits[nearest].box.gap(stroke.box) >= 0
        if distances[nearest] <= NEAR * tallest and not is_dash:
            digits[nearest] = digits[nearest].joined(stroke)
    return digits


def join_broken(digits: list[Digit], expected: int) -> list[Digit]:
    """Where there are more than expected, join what only a narrow gap separates."""
    tallest = max(digit.box.height for digit in digits)
    while len(digits) > expected:
        gaps = [left.box.gap(right.box) for left, right in pairwise(digits)]
        first = int(np.argmin(gaps))
        if gaps[first] > BROKEN * tallest:
            break
        digits = [*digits[:first], digits[first].joined(digits[first + 1]), *digits[first + 2 :]]
    return digits


def cut_out(ink: Ink, labels: NDArray[np.signedinteger], digit: Digit) -> Ink:
    """The ink in a digit's box without the strokes that are not its own."""
    box = digit.box
    part = ink[box.top : box.bottom, box.left : box.right]
    label = labels[box.top : box.bottom, box.left : box.right]
    return np.where(np.isin(label, [0, *digit.strokes]), part, 0)


def cut_touching(pieces: list[Ink], expected: int) -> list[Ink]:
    """Where there are fewer than expected, cut the widest in its middle half, where there is least ink."""
    tallest = max(len(piece) for piece in pieces)
    while len(pieces) < expected:
        widest = int(np.argmax([piece.shape[1] for piece in pieces]))
        piece = pieces[widest]
        width = piece.shape[1]
        if width < WIDE * tallest:
            break
        quarter = width // 4
        column = quarter + int(piece[:, quarter : width - quarter].sum(axis=0).argmin())
        pieces = [*pieces[:widest], trim(piece[:, :column]), trim(piece[:, column:]), *pieces[widest + 1 :]]
    return pieces


def trim(ink: Ink) -> Ink:
    """Without the rows above and below that are no stroke, and such columns at the sides."""
    rows, columns = np.nonzero(ink >= FAINT)
    return ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
