"""The paper under the ink: whether it is the brighter or the darker of both, and what light falls on it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from stages.tools.handwriting.mnist import Ink, area_average

Picture = NDArray[np.float64]  # (height, width, 1 or 3 channels), from 0 to 1

PLAIN_EDGE, PLAIN_AREA = 0.4, 0.2  # so much of the edge, and of all, has exactly one color, if no camera saw it
SIMILAR = 0.03  # from 0 to 1: colors that noise and lighting would give a paper
COARSE, MEDIUM = 64, 256  # longer side of the pictures in which polarity, and lighting, are estimated
WINDOW = 23  # of COARSE: wider than any stroke, narrower than a shadow
DARKEST = 0.1  # from 0 to 1: in what is darker, contrast is noise
CLEAR = 0.5  # of 1, of how certain a polarity is
SPREADS = (24.0, 6.0, 2.0)  # of MEDIUM: standard deviations of the Gaussians over which lighting is averaged
LEVELS = 48  # of brightness, from which holes are filled
LEAST = 0.02  # from 0 to 1: a smaller difference of brightness is noise
LONG = 0.1  # of the shorter side: the length of a digit's strokes


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
    weight = ~ndimage.binary_dilation(stroke_mask(medium), iterations=2)[:, :, None]
    paper = np.broadcast_to(np.quantile(medium, 0.75, axis=(0, 1)), medium.shape)
    for spread in SPREADS:
        sigma = spread * max(medium.shape) / MEDIUM
        total = ndimage.gaussian_filter(weight.astype(float), (sigma, sigma, 0))
        mean = ndimage.gaussian_filter(weight * medium, (sigma, sigma, 0)) / np.maximum(total, 1e-6)
        paper = np.where(total > 0.1, mean, paper)
    return np.maximum(grow(paper, picture.shape), 1e-3)


def stroke_mask(picture: Picture) -> NDArray[np.bool_]:
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
    if longest >= LONG * min(gray.shape) and strength >= usual_strength(narrow) / 2:
        return strokes
    return narrow >= max(usual_strength(narrow) / 3, LEAST)


def fill_holes(gray: Ink) -> Ink:
    """Raise every dark spot to the darkest level at which one could leave it for the edge of the picture."""
    filled = np.full_like(gray, gray.min())
    for level in np.linspace(gray.min(), gray.max(), LEVELS)[1:]:
        filled[ndimage.binary_fill_holes(gray >= level)] = level
    return np.maximum(filled, gray)


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


def usual_strength(ink: Ink) -> float:
    """The median of what is at least half as strong as itself, from the strongest pixels on."""
    strength = float(np.quantile(ink, 0.999))
    for _ in range(3):
        strength = float(np.median(ink[ink >= strength / 2]))
    return strength
