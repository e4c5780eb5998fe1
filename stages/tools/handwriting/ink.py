"""What is written on a paper: lighting, shadows and the paper's color are estimated and removed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from stages.tools.handwriting.digits import FAINT, FIRM
from stages.tools.handwriting.mnist import Ink, area_average

Picture = NDArray[np.float64]  # (height, width, 1 or 3 channels), from 0 to 1

COARSE, MEDIUM = 64, 256  # longer side of the pictures in which polarity, and lighting, are estimated
WINDOW = 23  # of COARSE: wider than any stroke, narrower than a shadow
DARKEST = 0.1  # from 0 to 1: in what is darker, contrast is noise
BLACK = 0.1  # brightness that is added to a dark paper, whose own may be none
CLEAR = 0.5  # of 1, of how certain a polarity is
SPREADS = (24.0, 6.0, 2.0)  # of MEDIUM: standard deviations of the Gaussians over which lighting is averaged
LEVELS = 48  # of brightness, from which holes are filled
PLAIN_EDGE, PLAIN_AREA = 0.4, 0.2  # so much of the edge, and of all, has exactly one color, if no camera saw it
SIMILAR = 0.03  # from 0 to 1: colors that noise and lighting would give a paper
LEAST = 0.02  # from 0 to 1: a smaller difference of brightness is noise
FAINTEST = 0.08  # of the paper's brightness; fainter ink is noise
NOISE_LIMIT = 4.0  # standard deviations of the noise; weaker ink is noise
LOW, HIGH = 0.35, 0.75  # of the ink's usual strength: from paper, or rules paler than ink, to ink
RULE = 0.7  # of a row or column
RULE_WIDTH = 0.025  # of the longer side: a rule is at most so wide
CONTACT, INSIDE = 0.5, 0.1  # of its length along an edge; of the shorter side, the length of a digit


def find_ink(picture: Picture) -> Ink:
    """How much ink is on each pixel, whether it is darker or brighter than its paper. All 0 for a blank picture."""
    plain = plain_paper(picture)
    if plain is not None:
        ink = project(np.abs(picture - plain))
        ink /= ink.max() or 1
        return without_edges(levels(ink, 1.0) if has_pale_rules(ink) else ink)
    if is_bright_on_dark(picture):
        paper = 1 - estimate_paper(1 - picture)
        contrast = (picture - paper) / (paper + BLACK)
    else:
        paper = estimate_paper(picture)
        contrast = (paper - picture) / paper
    return without_edges(without_noise(project(np.maximum(contrast, 0))))


def plain_paper(picture: Picture) -> Picture | None:
    """The one color of a paper that no camera saw; None for a photo, whose paper has many similar colors."""
    edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    colors, counts = np.unique(edge, axis=0, return_counts=True)
    paper = colors[counts.argmax()]
    distance = np.abs(picture - paper).max(axis=2)
    same = np.count_nonzero(distance == 0)
    is_plain = counts.max() >= PLAIN_EDGE * len(edge) and same >= PLAIN_AREA * distance.size
    return paper if is_plain and np.count_nonzero(distance < SIMILAR) < 2 * same else None


def is_bright_on_dark(picture: Picture) -> bool:
    """Around a stroke is mostly paper, so that a median over a wide window shows the paper under it.

    Where that is not clear, because a digit fills the picture, the median of all pixels decides.
    """
    gray = np.maximum(shrink(picture, COARSE).mean(axis=2), DARKEST)
    local, overall = (one_sidedness(gray, paper) for paper in (ndimage.median_filter(gray, WINDOW), np.median(gray)))
    return (local if abs(local) > CLEAR else overall) > 0


def one_sidedness(gray: Ink, paper: Ink | np.floating[Any]) -> float:
    """1 where all that differs from the paper is brighter, −1 where all is darker.

    Squares of logarithms, because the edge of a shadow changes a brightness by less than ink does.
    """
    contrast = np.log(gray / paper)
    squares = contrast * np.abs(contrast)
    return float(squares.sum() / max(np.abs(squares).sum(), 1e-12))


def estimate_paper(picture: Picture) -> Picture:
    """What the paper would look like without its dark ink, of the picture's shape.

    Where there is no ink, a Gaussian averages the paper over its grain; a wider one reaches under the strokes.
    """
    medium = ndimage.gaussian_filter(shrink(picture, MEDIUM), (1, 1, 0))
    weight = ~ndimage.binary_dilation(find_strokes(medium), iterations=2)[:, :, None]
    paper = np.broadcast_to(np.median(medium[weight[:, :, 0]], axis=0), medium.shape)
    for spread in SPREADS:
        sigma = spread * max(medium.shape) / MEDIUM
        total = ndimage.gaussian_filter(weight.astype(float), (sigma, sigma, 0))
        mean = ndimage.gaussian_filter(weight * medium, (sigma, sigma, 0)) / np.maximum(total, 1e-6)
        paper = np.where(total > 0.1, mean, paper)
    return np.maximum(grow(paper, picture.shape), 1e-3)


def find_strokes(picture: Picture) -> NDArray[np.bool_]:
    """Where dark ink is: not shadows and rules, from which one comes to the edge without crossing something brighter.

    But where little else is dark, a digit was cut off at the edge: then all that is narrow is ink.
    """
    gray = picture.mean(axis=2)
    window = round(WINDOW * max(gray.shape) / COARSE)
    filled = ndimage.grey_closing(np.pad(gray, window, "edge"), window)[window:-window, window:-window]
    enclosed: Ink = fill_holes(gray) - gray
    narrow: Ink = filled - gray
    strength = usual_strength(enclosed)
    strokes = enclosed >= max(strength / 6, LEAST)
    labels, _ = ndimage.label(strokes)
    longest = max((max(part.stop - part.start for part in box) for box in ndimage.find_objects(labels)), default=0)
    if longest >= INSIDE * min(gray.shape) and strength >= usual_strength(narrow) / 2:
        return strokes
    return narrow >= max(usual_strength(narrow) / 3, LEAST)


def fill_holes(gray: Ink) -> Ink:
    """Raise every dark spot to the darkest level at which one could leave it for the edge of the picture."""
    filled = np.full_like(gray, gray.min())
    for level in np.linspace(gray.min(), gray.max(), LEVELS)[1:]:
        filled[ndimage.binary_fill_holes(gray >= level)] = level
    return np.maximum(filled, gray)


def project(difference: Picture) -> Ink:
    """The difference from the paper along the ink's own color: red rules under blue ink count less."""
    if difference.shape[2] == 1 or (np.ptp(difference, axis=2) == 0).all():
        return difference[:, :, 0]
    strength = (difference**2).sum(axis=2)
    color = difference[strength >= np.quantile(strength, 0.99)].sum(axis=0)
    projected: Ink = difference @ (color / (np.linalg.norm(color) or 1))
    return projected


def usual_strength(ink: Ink) -> float:
    """The median of what is at least half as strong as itself, from the strongest pixels on."""
    strength = float(np.quantile(ink, 0.999))
    for _ in range(3):
        strength = float(np.median(ink[ink >= strength / 2]))
    return strength


def without_noise(ink: Ink) -> Ink:
    """0 for paper, 1 for ink; all 0 where there is no more than noise."""
    noise = noise_of(ink)
    if noise > 0.03 * usual_strength(ink):
        ink = ndimage.gaussian_filter(ink, max(1.0, max(ink.shape) / 500))
        noise = noise_of(ink)
    strength = usual_strength(ink)
    if strength < max(FAINTEST, NOISE_LIMIT * noise):
        return np.zeros_like(ink)
    return levels(ink, strength)


def levels(ink: Ink, strength: float) -> Ink:
    """0 for paper and for rules paler than ink, 1 for ink of about the usual strength."""
    return np.clip((ink - LOW * strength) / ((HIGH - LOW) * strength), 0, 1)


def has_pale_rules(ink: Ink) -> bool:
    """Whether a whole row or column is some ink, but nowhere much: a rule that a program drew."""
    pale = (ink >= FAINT) & (ink < FIRM)
    return bool(max(pale.mean(axis=0).max(), pale.mean(axis=1).max()) > RULE)


def noise_of(ink: Ink) -> float:
    """The standard deviation of the noise, from differences of neighbors, of which strokes are only a small part."""
    return float(1.4826 * np.median(np.abs(np.diff(ink, axis=1))) / np.sqrt(2))


def without_edges(ink: Ink) -> Ink:
    """Without what is no stroke: lines from edge to edge, and what lies along an edge, where a digit is inside.

    The first are rules as dark as ink, the second are shadows, and what else is in a photo beside the paper.
    """
    labels, count = ndimage.label(ink > 0, np.ones((3, 3)))
    boxes = ndimage.find_objects(labels)
    sides = [labels[0], labels[-1], labels[:, 0], labels[:, -1]]
    contacts = np.stack([np.bincount(side, minlength=count + 1) for side in sides])[:, 1:]
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    lengths = np.array([max(part.stop - part.start for part in box) for box in boxes])
    is_inside = contacts.sum(axis=0) == 0
    is_rule = ((contacts > 0).sum(axis=0) > 1) & (areas < RULE_WIDTH * max(ink.shape) * lengths)
    has_digit = bool((is_inside & (lengths >= INSIDE * min(ink.shape))).any())
    is_margin = has_digit & (contacts.sum(axis=0) >= lengths * CONTACT)
    return np.where(np.isin(labels, np.flatnonzero(is_rule | is_margin) + 1), 0, ink)


def shrink(picture: Picture, longest: int) -> Picture:
    """Area averages; a picture that is no larger stays as it is."""
    factor = max(picture.shape[:2]) / longest
    if factor <= 1:
        return picture
    height, width = (max(1, round(length / factor)) for length in picture.shape[:2])
    return np.stack([area_average(channel, height, width) for channel in np.moveaxis(picture, 2, 0)], axis=2)


def grow(picture: Picture, shape: tuple[int, ...]) -> Picture:
    """Linear interpolation to another height and width."""
    size, channels = (shape[1], shape[0]), np.moveaxis(picture, 2, 0).astype(np.float32)
    grown = [Image.fromarray(channel).resize(size, Image.Resampling.BILINEAR) for channel in channels]
    return np.stack([np.asarray(each, float) for each in grown], axis=2)
