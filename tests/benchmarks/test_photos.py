"""The pictures of `make handwriting` are what they are said to be: a reader's mistakes are then the reader's own."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from sklearn.datasets import load_digits

from tests.benchmarks.photos import take
from tests.benchmarks.scenes import LEAST_CONTRAST, Scene, Style, draw_scene, luminance

STYLES: tuple[Style, ...] = ("scan", "thin", "photo")


def digits(count: int) -> NDArray[np.uint8]:
    """Digits of 20x20 pixels in the middle of 28x28."""
    small = [Image.fromarray((image * 15.9).astype(np.uint8)) for image in load_digits().images[:count]]
    return np.stack([np.pad(np.asarray(image.resize((20, 20), Image.Resampling.BICUBIC)), 4) for image in small])


def scene(style: Style, seed: int) -> tuple[Scene, np.random.Generator]:
    generator = np.random.default_rng(seed)
    drawn = draw_scene(style, generator)
    return drawn._replace(side=min(drawn.side, 250)), generator


def pixels(file: bytes) -> NDArray[np.float64]:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("L"), float)


@pytest.mark.parametrize("style", STYLES)
def test_a_seed_always_gives_the_same_file(style: Style) -> None:
    assert take(digits(1), *scene(style, 1)) == take(digits(1), *scene(style, 1)) != take(digits(1), *scene(style, 2))


@pytest.mark.parametrize(("style", "count"), [("scan", 1), ("scan", 5), ("thin", 1)])
def test_the_whole_ink_is_in_the_picture_and_differs_from_the_paper(style: Style, count: int) -> None:
    for seed in range(8):
        drawn, generator = scene(style, seed)
        contrast = abs(luminance(drawn.paper) - luminance(drawn.ink))
        assert contrast >= LEAST_CONTRAST
        difference = np.abs(pixels(take(digits(count), drawn, generator)) - luminance(drawn.paper))
        rows = np.flatnonzero((difference > contrast / 2).any(axis=1))
        assert np.ptp(rows) >= 15
        assert difference.max() >= (0.9 if style == "scan" else 0.5) * contrast
        border = np.concatenate([difference[[0, -1]].ravel(), difference[:, [0, -1]].ravel()])
        assert border.max() < contrast / 4, "cut off"


def test_a_turned_photo_is_the_same_to_whoever_heeds_exif() -> None:
    drawn, _ = scene("photo", 3)
    turned, upright = (
        pixels(take(digits(1), drawn._replace(turned=is_turned, quality=95), np.random.default_rng(0)))
        for is_turned in (True, False)
    )
    assert turned.shape == upright.shape
    assert np.abs(turned - upright).mean() < 5
    assert np.abs(turned[::-1, ::-1] - upright).mean() > 5
