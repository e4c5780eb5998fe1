"""Each distortion does what its name says, by up to the configured amount, and the same for one seed."""

import time

import numpy as np
import pytest
import scipy
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from stages.engines.config import AugmentationConfig
from stages.training.augmentation import Augmentation

NONE = {"rotation": 0.0, "shift": 0.0, "scale": 0.0, "shear": 0.0, "elastic": 0.0}
BACKGROUND = -0.4


def config(**amounts: float) -> AugmentationConfig:
    return AugmentationConfig.model_validate({**NONE, **amounts})


def blob(row: float, column: float, count: int = 1) -> NDArray[np.float32]:
    """A soft round spot on the background, whose center can be measured."""
    rows, columns = np.mgrid[:28, :28]
    spot = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 4) + BACKGROUND
    return np.repeat(spot[None], count, axis=0).astype(np.float32)


def centers(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, 2): row and column of each spot's center, from the center of the image."""
    light = images.astype(np.float64) - BACKGROUND
    positions = np.mgrid[:28, :28] - 13.5
    found: NDArray[np.float64] = np.einsum("nij,kij->nk", light, positions) / light.sum(axis=(1, 2))[:, None]
    return found


def distorted(images: NDArray[np.float32], **amounts: float) -> NDArray[np.float32]:
    return Augmentation(config(**amounts), BACKGROUND)(images, np.random.default_rng(0))


def test_without_amounts_nothing_changes() -> None:
    images = np.random.default_rng(1).normal(size=(5, 28, 28)).astype(np.float32)
    np.testing.assert_allclose(distorted(images), images, atol=1e-5)


def test_rotation_rotates_by_up_to_its_angle() -> None:
    moved = centers(distorted(blob(13.5, 19.5, 2000), rotation=30.0))
    np.testing.assert_allclose(np.hypot(*moved.T), 6, atol=0.05)
    angles = np.degrees(np.arctan2(moved[:, 0], moved[:, 1]))
    assert 29 < abs(angles).max() < 30.5
    assert angles.std() == pytest.approx(30 / np.sqrt(3), rel=0.05)  # as even angles have


def test_shift_moves_both_ways_by_up_to_its_pixels() -> None:
    moved = centers(distorted(blob(13.5, 13.5, 2000), shift=3.0))
    assert ((2.9 < abs(moved).max(axis=0)) & (abs(moved).max(axis=0) < 3.05)).all()
    np.testing.assert_allclose(moved.std(axis=0), 3 / np.sqrt(3), rtol=0.05)


def test_scale_moves_away_from_the_center_and_back() -> None:
    moved = centers(distorted(blob(13.5, 19.5, 2000), scale=0.2))
    np.testing.assert_allclose(moved[:, 0], 0, atol=0.01)
    assert moved[:, 1].min() == pytest.approx(6 * 0.8, abs=0.1)
    assert moved[:, 1].max() == pytest.approx(6 * 1.2, abs=0.1)


def test_shear_moves_sideways_what_is_above_and_below_the_center() -> None:
    moved = centers(distorted(blob(19.5, 13.5, 2000), shear=20.0))
    np.testing.assert_allclose(moved[:, 0], 6, atol=0.05)
    assert abs(moved[:, 1]).max() == pytest.approx(6 * np.tan(np.radians(20)), abs=0.1)
    still = centers(distorted(blob(13.5, 19.5, 200), shear=20.0))
    np.testing.assert_allclose(still, [[0, 6]] * 200, atol=0.05)


def test_elastic_displaces_with_its_standard_deviation() -> None:
    moved = centers(distorted(blob(13.5, 13.5, 4000), elastic=1.0))
    np.testing.assert_allclose(moved.mean(axis=0), 0, atol=0.06)
    np.testing.assert_allclose(moved.std(axis=0), 1, atol=0.15)  # the spot's center is a mean over a few pixels


def test_interpolation_is_scipys() -> None:
    """A rotation of a random image, against scipy.ndimage at the same points."""
    images = np.random.default_rng(1).normal(size=(3, 28, 28)).astype(np.float32)
    augmentation = Augmentation(config(rotation=40.0, shift=4.0, shear=10.0, scale=0.3, elastic=2.0), BACKGROUND)
    coefficients = augmentation._coefficients(3, np.random.default_rng(0))
    points = (coefficients @ augmentation._basis).reshape(2, 3, 28, 28)
    expected = [
        scipy.ndimage.map_coordinates(np.pad(image, 5, constant_values=BACKGROUND), points[:, index] + 5, order=1)
        for index, image in enumerate(images)
    ]
    inside = (abs(points - 13.5) < 18).all(axis=0)
    ours = augmentation(images, np.random.default_rng(0))
    np.testing.assert_allclose(ours[inside], np.array(expected)[inside], atol=1e-4)


def test_the_generator_decides_and_the_input_is_not_modified() -> None:
    images = blob(10, 15, 4)
    given, augmentation = images.copy(), Augmentation(config(rotation=10.0, elastic=1.0), BACKGROUND)
    first, same, other = (augmentation(images, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == same).all()
    assert not np.allclose(first, other)
    assert not np.allclose(first[0], first[1])
    assert (images == given).all()
    assert first.dtype == np.float32


def test_55000_images_take_about_a_second_of_one_core() -> None:
    """The best of five goes at a tenth of the images, and twice the time, for machines that are busy."""
    images = np.random.default_rng(0).normal(size=(5500, 28, 28)).astype(np.float32)
    augmentation = Augmentation(AugmentationConfig(), BACKGROUND)
    generator, times = np.random.default_rng(0), []
    with threadpool_limits(1):
        for _ in range(5):
            started = time.process_time()
            for start in range(0, 5500, 64):
                augmentation(images[start : start + 64], generator)
            times.append(time.process_time() - started)
    assert min(times) < 0.2
