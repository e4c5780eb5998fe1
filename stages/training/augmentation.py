"""Random distortions of training images: a small rotation or bend leaves a digit what it is."""

import numpy as np
from numpy.typing import NDArray

from stages.engines.config import AugmentationConfig
from stages.pipeline.classifier import IMAGE_SHAPE, Images

SIDE = IMAGE_SHAPE[0]
PADDED = SIDE + 3  # one pixel of background before, two after: every sampled point has four neighbors
KNOTS = 7  # along each side, of the grid whose random displacements bend an image
KNOT_STD = 4.0  # pixels, of the Gaussian around each knot


class Augmentation:
    """Rotate, shift, scale, shear and bend every image by random amounts, uniform up to the config's.

    Each pixel of the result is sampled at a point that is linear in the amounts, so that all points of a batch are one
    matrix product; between pixels, sampling is bilinear. The elastic distortion is that of Simard et al. (2003), a
    smooth random field, here with a standard deviation of ``elastic`` pixels. The shift comes first, and is rotated and
    scaled with the image. ``background`` is the value outside the image.
    """

    def __init__(self, config: AugmentationConfig, background: float) -> None:
        self.config, self.background = config, background
        center = (SIDE - 1) / 2
        row, column = (axis.ravel() - center for axis in np.mgrid[:SIDE, :SIDE])
        affine = np.stack([row, column, np.ones(SIDE * SIDE)])
        knots = np.linspace(0, SIDE - 1, KNOTS)
        weight = np.exp(-(((np.arange(SIDE) - knots[:, None]) / KNOT_STD) ** 2) / 2)
        field = np.kron(weight, weight)
        unit = field / np.linalg.norm(field, axis=0)  # a sum of standard normals with these weights has std 1
        self._basis = np.concatenate([affine, unit]).astype(np.float32)

    def __call__(self, images: Images, generator: np.random.Generator) -> Images:
        """Return distorted copies of images (N, 28, 28), of their dtype."""
        rows, columns = (self._coefficients(len(images), generator) @ self._basis).reshape(2, len(images), -1)
        return sample(images, rows, columns, self.background)

    def _coefficients(self, count: int, generator: np.random.Generator) -> NDArray[np.float32]:
        """The coefficients of the basis, (2, count, 3 + KNOTS²), for the sampled points' rows and columns."""
        config = self.config
        uniform = generator.uniform(-1, 1, (5, count))
        angle, shear = np.radians(config.rotation) * uniform[0], np.tan(np.radians(config.shear) * uniform[1])
        zoom = 1 / (1 + config.scale * uniform[2])
        center = (SIDE - 1) / 2
        coefficients = np.empty((2, count, len(self._basis)), np.float32)
        coefficients[0, :, 0], coefficients[0, :, 1] = zoom * np.cos(angle), -zoom * np.sin(angle)
        coefficients[1, :, 0] = zoom * (np.sin(angle) + shear * np.cos(angle))
        coefficients[1, :, 1] = zoom * (np.cos(angle) - shear * np.sin(angle))
        coefficients[:, :, 2] = center + config.shift * uniform[3:]
        # In float64, because the tail of float32 draws takes log1pf, in which releases of glibc differ.
        coefficients[:, :, 3:] = config.elastic * generator.standard_normal((2, count, KNOTS * KNOTS))
        return coefficients


def sample(images: Images, rows: NDArray[np.float32], columns: NDArray[np.float32], background: float) -> Images:
    """Bilinear interpolation of images (N, 28, 28) at points (N, 784); beyond the edge lies ``background``."""
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
    above = _interpolate(pixels, corner, columns)
    corner += PADDED
    below = _interpolate(pixels, corner, columns)
    below -= above
    below *= rows
    above += below
    return above.reshape(images.shape)


def _interpolate(pixels: Images, corner: NDArray[np.intp], fraction: NDArray[np.float32]) -> Images:
    """Linear interpolation between each pixel and its right neighbor."""
    left = pixels.take(corner)
    right = pixels[1:].take(corner)
    right -= left
    right *= fraction
    left += right
    return left
