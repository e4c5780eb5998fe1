"""Random distortions of digits, which both engines learn from: small turns and bends leave a digit what it is."""

import numpy as np
from numpy.typing import NDArray

from stages.pipeline.classifier import Images
from stages.pipeline.params import TrainingParameters

SIDE = 28
PADDED = SIDE + 3  # one pixel of background before, two after: every sampled point has four neighbours
KNOTS = 7  # along each side, of the grid whose random pushes bend a digit
KNOT_SPREAD = 4.0  # pixels


class Augmentation:
    """Turn, shift, scale, shear and bend every digit by amounts of its own, drawn evenly up to those of params.yaml.

    Each pixel of the result is looked up in the digit at a point that is linear in the amounts, so that all points of a
    batch are one matrix product; between pixels, it is interpolated. The bend is that of Simard et al. (2003), a smooth
    random field, here of ``elastic`` pixels standard deviation. The shift comes first, and is turned and scaled with
    the digit. ``background`` is the value outside the digit.
    """

    def __init__(self, parameters: TrainingParameters, background: float) -> None:
        self.parameters, self.background = parameters, background
        middle = (SIDE - 1) / 2
        row, column = (axis.ravel() - middle for axis in np.mgrid[:SIDE, :SIDE])
        affine = np.stack([row, column, np.ones(SIDE * SIDE)])
        knots = np.linspace(0, SIDE - 1, KNOTS)
        pull = np.exp(-(((np.arange(SIDE) - knots[:, None]) / KNOT_SPREAD) ** 2) / 2)
        bend = np.kron(pull, pull)
        unit = bend / np.linalg.norm(bend, axis=0)  # a sum of unit normals with these weights has deviation 1
        self._basis = np.concatenate([affine, unit]).astype(np.float32)

    def __call__(self, images: Images, generator: np.random.Generator) -> Images:
        """Return distorted copies of images (N, 28, 28), of their dtype."""
        rows, columns = (self._amounts(len(images), generator) @ self._basis).reshape(2, len(images), -1)
        return sample(images, rows, columns, self.background)

    def _amounts(self, count: int, generator: np.random.Generator) -> NDArray[np.float32]:
        """What multiplies the basis: (2, count, 3 + KNOTS²), for the points' rows and their columns."""
        given = self.parameters
        even = generator.uniform(-1, 1, (5, count))
        angle, shear = np.radians(given.rotation) * even[0], np.tan(np.radians(given.shear) * even[1])
        zoom = 1 / (1 + given.scale * even[2])
        middle = (SIDE - 1) / 2
        amounts = np.empty((2, count, len(self._basis)), np.float32)
        amounts[0, :, 0], amounts[0, :, 1] = zoom * np.cos(angle), -zoom * np.sin(angle)
        amounts[1, :, 0] = zoom * (np.sin(angle) + shear * np.cos(angle))
        amounts[1, :, 1] = zoom * (np.cos(angle) - shear * np.sin(angle))
        amounts[:, :, 2] = middle + given.shift * even[3:]
        amounts[:, :, 3:] = given.elastic * generator.standard_normal((2, count, KNOTS * KNOTS), np.float32)
        return amounts


def sample(images: Images, rows: NDArray[np.float32], columns: NDArray[np.float32], background: float) -> Images:
    """Bilinear interpolation of images (N, 28, 28) at points (N, 784); beyond their edge lies ``background``."""
    padded = np.full((len(images), PADDED, PADDED), background, images.dtype)
    padded[:, 1 : SIDE + 1, 1 : SIDE + 1] = images
    lowest, highest = np.float32(-1), np.float32(SIDE)
    for points in (rows, columns):
        np.clip(points, lowest, highest, out=points)
        points += 1
    top, left = np.floor(rows), np.floor(columns)
    rows -= top
    columns -= left
    top *= PADDED
    top += left
    corner = top.astype(np.intp)
    corner += (np.arange(len(images)) * PADDED * PADDED)[:, None]
    pixels = padded.ravel()
    above = _between(pixels, corner, columns)
    corner += PADDED
    below = _between(pixels, corner, columns)
    below -= above
    below *= rows
    above += below
    return above.reshape(images.shape)


def _between(pixels: Images, corner: NDArray[np.intp], share: NDArray[np.float32]) -> Images:
    """The value ``share`` of the way from each pixel to its right neighbour."""
    left = pixels.take(corner)
    right = pixels[1:].take(corner)
    right -= left
    right *= share
    left += right
    return left
