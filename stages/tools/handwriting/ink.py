"""What is written on a paper, as a number for each pixel, whatever the colors of paper and ink, and the light."""

import numpy as np
from scipy import ndimage

from stages.tools.handwriting.digits import FAINT, FIRM
from stages.tools.handwriting.mnist import Ink
from stages.tools.handwriting.paper import Picture, estimate_paper, is_bright_on_dark, plain_paper, usual_strength
from stages.tools.handwriting.strokes import LINE, without_lines, without_surroundings

BLACK = 0.1  # brightness that is added to a dark paper, whose own may be none
FAINTEST = 0.08  # of the paper's brightness; fainter ink is noise
NOISE_LIMIT = 4.0  # standard deviations of the noise; weaker ink is noise
LOW, HIGH = 0.35, 0.75  # of the ink's usual strength: from paper, or rules paler than ink, to ink


def find_ink(picture: Picture) -> Ink:
    """How much ink is on each pixel, whether it is darker or brighter than its paper. All 0 for a blank picture."""
    plain = plain_paper(picture)
    if plain is not None:
        ink = project(np.abs(picture - plain))
        if ink.max() < FAINTEST:
            return np.zeros_like(ink)
        ink /= ink.max()
        return without_lines(levels(ink, 1.0) if has_pale_lines(ink) else ink)
    if is_bright_on_dark(picture):
        paper = 1 - estimate_paper(1 - picture)
        contrast = (picture - paper) / (paper + BLACK)
    else:
        paper = estimate_paper(picture)
        contrast = (paper - picture) / paper
    return without_surroundings(without_noise(project(np.maximum(contrast, 0))))


def project(difference: Picture) -> Ink:
    """The difference from the paper along the ink's own color: red rules under blue ink count less."""
    if difference.shape[2] == 1 or (np.ptp(difference, axis=2) == 0).all():
        return difference[:, :, 0]
    strength = (difference**2).sum(axis=2)
    color = difference[strength >= np.quantile(strength, 0.99)].sum(axis=0)
    projected: Ink = difference @ (color / (np.linalg.norm(color) or 1))
    return projected


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


def has_pale_lines(ink: Ink) -> bool:
    """Whether most of a row or column is some ink, but none of it much, nor what is beside it: not a stroke's edge."""
    pale = (ink >= FAINT) & (ndimage.maximum_filter(ink, 5) < FIRM)
    return bool(max(pale.mean(axis=0).max(), pale.mean(axis=1).max()) > LINE)


def noise_of(ink: Ink) -> float:
    """The standard deviation of the noise, from differences of neighbors, of which strokes are only a small part."""
    return float(1.4826 * np.median(np.abs(np.diff(ink, axis=1))) / np.sqrt(2))
