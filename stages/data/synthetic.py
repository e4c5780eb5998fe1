"""Digits in the fonts that matplotlib ships, randomly rotated, slanted, scaled, shifted, and blurred.

Each font's digits are drawn once, large. An image of the dataset is such a glyph under an affine map, which gives for
each of the 28 x 28 pixels the place in the glyph to sample.
"""

from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray
from scipy import ndimage
from tqdm import tqdm

from stages.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, Bytes, encode
from stages.data.raw_files import RawFiles
from stages.pipeline.config import FetchConfig
from stages.pipeline.rng import spawn_generators

_FONTS = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    *("cmb10", "cmr10", "cmss10", "cmti10", "cmtt10"),
)
_SCALE = 4  # how much larger than its image a glyph is drawn
_HEIGHT = 20 * _SCALE  # of the glyph; MNIST's digits fit into 20 x 20 pixels
_CANVAS = 40 * _SCALE
_BLURS = (1.0, 2.0, 3.0)  # standard deviations, in the glyph's pixels
_CHUNK = 500  # images at a time, which fit into the processor's cache

Floats = NDArray[np.float32]


def fetch(config: FetchConfig, seed: int) -> RawFiles:
    """Draw the four files; ``seed`` determines every pixel."""
    glyphs = _glyphs()
    generators = spawn_generators(seed)
    train_images, train_labels = _draw(glyphs, config.synthetic_train_size, generators.synthetic_train)
    test_images, test_labels = _draw(glyphs, config.synthetic_test_size, generators.synthetic_test)
    return {
        TRAIN_IMAGES: encode(train_images),
        TRAIN_LABELS: encode(train_labels),
        TEST_IMAGES: encode(test_images),
        TEST_LABELS: encode(test_labels),
    }


def _glyphs() -> Floats:
    """Every digit in every font and blur, float32 (10, fonts x blurs, _CANVAS, _CANVAS), 0 to 255."""
    fonts = [FT2Font(str(Path(get_data_path(), "fonts", "ttf", f"{name}.ttf"))) for name in _FONTS]
    drawn = [[_glyph(font, str(digit)) for font in fonts] for digit in range(10)]
    return np.concatenate([ndimage.gaussian_filter(drawn, blur, axes=(2, 3)) for blur in _BLURS], axis=1)


def _glyph(font: FT2Font, digit: str) -> Floats:
    """One digit with its center of mass in the middle of the canvas, as in MNIST; float32 (_CANVAS, _CANVAS)."""
    font.set_size(_HEIGHT * 1.3, 72)  # a font's size exceeds the height of its digits
    font.set_text(digit)
    font.draw_glyphs_to_bitmap(antialiased=True)
    bitmap = np.asarray(font.get_image(), dtype=np.float32)
    top, left = (_CANVAS // 2 - round(center) for center in ndimage.center_of_mass(bitmap))
    canvas = np.zeros((_CANVAS, _CANVAS), dtype=np.float32)
    canvas[top : top + bitmap.shape[0], left : left + bitmap.shape[1]] = bitmap
    return canvas


def _draw(glyphs: Floats, size: int, generator: np.random.Generator) -> tuple[Bytes, Bytes]:
    """Draw ``size`` images, balanced over the classes: images uint8 (size, 28, 28), labels uint8 (size,)."""
    labels = generator.permutation(np.arange(size, dtype=np.int64) % 10)
    styles = generator.integers(glyphs.shape[1], size=size)
    indices = labels * glyphs.shape[1] + styles
    maps, shifts = _maps(size, generator), generator.uniform(-1.5, 1.5, (size, 2))
    atlas = glyphs.reshape(-1, _CANVAS, _CANVAS)
    images = np.empty((size, 28, 28), dtype=np.uint8)
    for start in tqdm(range(0, size, _CHUNK), "drawing digits", leave=False, disable=None):
        chunk = slice(start, start + _CHUNK)
        images[chunk] = _sample(atlas, indices[chunk], maps[chunk], shifts[chunk])
    return images, labels.astype(np.uint8)


def _maps(size: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Linear maps from an image's (row, column) to its glyph's, (size, 2, 2): rotation, slant, then scale."""
    angle = generator.uniform(-0.25, 0.25, size)
    slant = generator.uniform(-0.3, 0.3, size)
    rows, columns = _SCALE / generator.uniform([[0.9], [0.8]], [[1.1], [1.2]], (2, size))
    cosine, sine = np.cos(angle), np.sin(angle)
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    stretch = np.array([[rows, np.zeros(size)], [slant * columns, columns]])
    maps: NDArray[np.float64] = stretch.transpose(2, 0, 1) @ rotation.transpose(2, 0, 1)
    return maps


def _sample(
    atlas: Floats, indices: NDArray[np.int64], maps: NDArray[np.float64], shifts: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Sample each image's pixels from its glyph by bilinear interpolation."""
    grid = np.stack(np.meshgrid(np.arange(28), np.arange(28), indexing="ij")).reshape(2, -1) - 13.5
    coordinates = maps @ (grid + shifts[..., None]) + _CANVAS / 2  # (N, 2, 784)
    glyph = np.broadcast_to(indices[:, None], (len(indices), grid.shape[1]))
    pixels = ndimage.map_coordinates(atlas, [glyph, coordinates[:, 0], coordinates[:, 1]], order=1, output=np.float32)
    return np.rint(pixels).astype(np.uint8).reshape(-1, 28, 28)
