"""What of the ink a pen wrote: not rules, nor shadows, nor what else is in a photo beside the paper."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from stages.tools.handwriting.mnist import Ink
from stages.tools.handwriting.paper import LONG

LINE = 0.7  # of a row or column: lines that a program drew
LINES = 0.3  # of the picture: more are no lines
RULE_WIDTH = 0.025  # of the longer side: a rule from edge to edge is at most so wide
SHORT = 0.04  # of the shorter side: no digit is so small
BLOB = 0.42  # of its length: no stroke is so wide
WIDE = 0.25  # of its length: a shadow is so wide, and few digits
CONTACT, ALONG = 0.5, 0.9  # of its length lie along the edge of the picture
SOFT = 1.0  # pixels between paper and ink, for each of ink: more have no edge, and are light and shade
SCATTERED = 0.05  # of all ink: where no stroke has as much, it is the paper's grain


class Strokes(NamedTuple):
    """Connected ink, one entry each: its label, the pixels along each of the four edges, length, width and amount."""

    labels: NDArray[np.signedinteger]  # (height, width), 0 for paper
    contacts: NDArray[np.signedinteger]  # (4, N)
    lengths: NDArray[np.signedinteger]  # of the box's longer side
    widths: NDArray[np.float64]  # twice the area over the perimeter
    amounts: NDArray[Any]


def find_strokes(ink: Ink) -> Strokes:
    """Diagonals are connected."""
    labels, count = ndimage.label(ink > 0, np.ones((3, 3)))
    sides = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    boxes = ndimage.find_objects(labels)
    padded = np.pad(labels, 1)
    steps = np.zeros(count + 1)
    for before, after in ((padded[:-1], padded[1:]), (padded[:, :-1], padded[:, 1:])):
        border = before != after
        steps += np.bincount(before[border], minlength=count + 1) + np.bincount(after[border], minlength=count + 1)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    return Strokes(
        labels,
        np.stack([np.bincount(side, minlength=count + 1) for side in sides])[:, 1:],
        np.array([max(part.stop - part.start for part in box) for box in boxes], np.int64),
        2 * areas[1:] / (steps[1:] * math.pi / 4),
        np.bincount(labels.ravel(), ink.ravel(), minlength=count + 1)[1:],
    )


def without_surroundings(ink: Ink) -> Ink:
    """Without rules, shadows and desks in a photo; all 0 where only the paper's grain and specks are left."""
    strokes = find_strokes(ink)
    contact, sides = strokes.contacts.sum(axis=0), (strokes.contacts > 0).sum(axis=0)
    is_long = strokes.lengths >= LONG * min(ink.shape)
    has_digit = bool((is_long & (contact == 0)).any())
    is_rule = (sides > 1) & (strokes.widths < RULE_WIDTH * max(ink.shape))
    is_blob = is_long & (strokes.widths >= BLOB * strokes.lengths)
    is_shadow = (contact >= CONTACT * strokes.lengths) & (has_digit | (strokes.widths >= WIDE * strokes.lengths))
    is_stroke = ~(is_rule | is_blob | is_shadow | (contact >= ALONG * strokes.lengths))
    longest = max(strokes.lengths[is_stroke], default=0)
    most = max(strokes.amounts[is_stroke], default=0.0)
    kept = keep(ink, strokes.labels, is_stroke)
    is_soft = np.count_nonzero((kept > 0) & (kept < 1)) > SOFT * np.count_nonzero(kept == 1)
    if longest < SHORT * min(ink.shape) or most < SCATTERED * kept.sum() or is_soft:
        return np.zeros_like(ink)
    return kept


def without_lines(ink: Ink) -> Ink:
    """Without strokes that are nothing but lines from edge to edge, as a program draws them."""
    is_line = full_rows(ink)[:, None] | full_rows(ink.T)
    if not is_line.any() or is_line.mean() > LINES:
        return ink
    labels, count = ndimage.label(ink > 0, np.ones((3, 3)))
    return keep(ink, labels, ~ndimage.minimum(is_line, labels, np.arange(1, count + 1)).astype(bool))


def full_rows(ink: Ink) -> NDArray[np.bool_]:
    """Which rows are ink from edge to edge, in bands that are no wider than a rule."""
    is_full = ((ink > 0).mean(axis=1) > LINE) & (ink[:, 0] > 0) & (ink[:, -1] > 0)
    widest = max(1, round(RULE_WIDTH * max(ink.shape)))
    rows: NDArray[np.bool_] = is_full & ~ndimage.binary_opening(is_full, np.ones(widest + 1))
    return rows


def keep(ink: Ink, labels: NDArray[np.signedinteger], is_kept: NDArray[np.bool_]) -> Ink:
    """The ink of some labels alone."""
    return np.where(np.concatenate([[False], is_kept])[labels], ink, 0)
