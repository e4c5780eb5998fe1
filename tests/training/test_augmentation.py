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
DEFAULT = AugmentationConfig()
EACH = [{name: getattr(DEFAULT, name)} for name in NONE]
ALL = DEFAULT.model_dump(exclude={"enabled"})
LIMITS = [{"rotation": 180.0}, {"shift": 28.0}, {"scale": 0.9}, {"shear": 80.0}, {"elastic": 28.0}]


def config(**amounts: float) -> AugmentationConfig:
    return AugmentationConfig.model_validate({**NONE, **amounts})


def noise(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(count, 28, 28)).astype(np.float32)


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


def distorted(images: NDArray[np.float32], seed: int = 0, /, **amounts: float) -> NDArray[np.float32]:
    return Augmentation(config(**amounts), BACKGROUND)(images, np.random.default_rng(seed))


def displacements(count: int, **amounts: float) -> NDArray[np.float64]:
    """(2, count, 28, 28): how far from each pixel its value is sampled, in rows and columns.

    Bilinear interpolation of an image that shows each pixel's row gives the row of the sampled point.
    """
    ramps = np.mgrid[:28, :28].astype(np.float32)
    sampled = [distorted(np.repeat(ramp[None], count, axis=0), 0, **amounts) for ramp in ramps]
    return np.array(sampled, np.float64) - ramps[:, None]


def expected_points(count: int, seed: int, **amounts: float) -> NDArray[np.float64]:
    """(count, 2, 28, 28): where each pixel is sampled, from matrices and a sum over knots, in float64."""
    asked, generator = {**NONE, **amounts}, np.random.default_rng(seed)
    draws = generator.uniform(-1, 1, (5, count)).T
    bends = generator.standard_normal((2, count, 49))
    pixels = np.stack(np.meshgrid(np.arange(28.0), np.arange(28.0), indexing="ij")).reshape(2, -1)
    knots = [(row, column) for row in np.linspace(0, 27, 7) for column in np.linspace(0, 27, 7)]
    weights = np.array([np.exp(-((pixels.T - knot) ** 2).sum(axis=1) / (2 * 4.0**2)) for knot in knots])
    points = np.empty((count, 2, 784))
    for index, (rotation, shear, scale, down, right) in enumerate(draws):
        turn, lean = np.radians(asked["rotation"] * rotation), np.radians(asked["shear"] * shear)
        rotated = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        sheared = np.array([[1, 0], [np.tan(lean), 1]])
        matrix = sheared @ rotated / (1 + asked["scale"] * scale)
        bend = asked["elastic"] * (bends[:, index] @ weights) / np.sqrt((weights**2).sum(axis=0))
        shift = asked["shift"] * np.array([[down], [right]])
        points[index] = matrix @ (pixels - 13.5) + 13.5 + shift + bend
    return points.reshape(count, 2, 28, 28)


@pytest.mark.parametrize("amounts", [*EACH, ALL, *LIMITS], ids=str)
def test_distorted_images_are_scipys_at_the_points_that_the_amounts_give(amounts: dict[str, float]) -> None:
    images = noise(20)
    expected = [
        scipy.ndimage.map_coordinates(
            image.astype(np.float64), points, order=1, mode="grid-constant", cval=BACKGROUND, prefilter=False
        )
        for image, points in zip(images, expected_points(20, 3, **amounts), strict=True)
    ]
    ours = distorted(images, 3, **amounts)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=5e-4)
    assert not np.allclose(ours, images, atol=0.1)


@pytest.mark.parametrize("amounts", [{"rotation": 30.0}, {"shift": 4.0}, {"scale": 0.3}, {"shear": 20.0}, ALL], ids=str)
def test_all_but_elastic_are_scipys_affine_transform(amounts: dict[str, float]) -> None:
    images, amounts = noise(10), {**amounts, "elastic": 0.0}
    expected = []
    for image, points in zip(images, expected_points(10, 4, **amounts), strict=True):
        offset = points[:, 0, 0]
        matrix = np.stack([points[:, 1, 0] - offset, points[:, 0, 1] - offset], axis=1)
        expected.append(
            scipy.ndimage.affine_transform(image, matrix, offset, order=1, mode="grid-constant", cval=BACKGROUND)
        )
    np.testing.assert_allclose(distorted(images, 4, **amounts), expected, atol=1e-4)


def test_without_amounts_nothing_changes() -> None:
    np.testing.assert_allclose(distorted(noise(5)), noise(5), atol=1e-5)


def test_rotation_rotates_by_up_to_its_angle_both_ways() -> None:
    moved = centers(distorted(blob(13.5, 19.5, 2000), rotation=30.0))
    np.testing.assert_allclose(np.hypot(*moved.T), 6, atol=0.05)
    angles = np.degrees(np.arctan2(moved[:, 0], moved[:, 1]))
    assert 29 < angles.max() < 30.5
    assert -30.5 < angles.min() < -29
    assert angles.mean() == pytest.approx(0, abs=1.2)  # three standard errors
    assert angles.std() == pytest.approx(30 / np.sqrt(3), rel=0.05)  # as even angles have


def test_shift_moves_in_both_axes_by_up_to_its_pixels_independently() -> None:
    moved = centers(distorted(blob(13.5, 13.5, 2000), shift=3.0))
    for axis in moved.T:
        assert 2.9 < axis.max() < 3.05
        assert -3.05 < axis.min() < -2.9
    assert_centered_and_independent(moved, 3 / np.sqrt(3))


def test_scale_moves_away_from_the_center_and_back() -> None:
    moved = centers(distorted(blob(13.5, 19.5, 2000), scale=0.2))
    np.testing.assert_allclose(moved[:, 0], 0, atol=0.01)
    assert moved[:, 1].min() == pytest.approx(6 * 0.8, abs=0.1)
    assert moved[:, 1].max() == pytest.approx(6 * 1.2, abs=0.1)
    assert moved[:, 1].mean() == pytest.approx(6, abs=0.05)  # the size is uniform, not its inverse


def test_shear_moves_sideways_what_is_above_and_below_the_center() -> None:
    moved = centers(distorted(blob(19.5, 13.5, 2000), shear=20.0))
    np.testing.assert_allclose(moved[:, 0], 6, atol=0.05)
    reach = 6 * np.tan(np.radians(20))
    assert (moved[:, 1].min(), moved[:, 1].max()) == pytest.approx((-reach, reach), abs=0.1)
    still = centers(distorted(blob(13.5, 19.5, 200), shear=20.0))
    np.testing.assert_allclose(still, [[0, 6]] * 200, atol=0.05)


def test_elastic_bends_smoothly_and_as_far_as_asked_everywhere() -> None:
    """Rows and columns independently, and each image by itself."""
    bends = displacements(2000, elastic=0.8)[:, :, 4:24, 4:24]  # where no point leaves the image
    assert_centered_and_independent(bends[:, :, 10, 10].T, 0.8)
    np.testing.assert_allclose(bends.std(axis=1), 0.8, rtol=0.08)
    np.testing.assert_allclose(bends.mean(axis=1), 0, atol=0.08)
    for distance in (2, 4, 8, 16):  # the correlation of sums of Gaussians of standard deviation 4
        for pair in (
            (bends[..., 2, 10], bends[..., 2 + distance, 10]),
            (bends[..., 10, 2], bends[..., 10, 2 + distance]),
        ):
            correlation = np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1]
            assert correlation == pytest.approx(np.exp(-(distance**2) / (4 * 4.0**2)), abs=0.06)


def assert_centered_and_independent(moved: NDArray[np.float64], std: float) -> None:
    """(N, 2): each axis has mean 0 and this standard deviation; axes and successive images are uncorrelated."""
    bound = 4 / np.sqrt(len(moved))
    np.testing.assert_allclose(moved.mean(axis=0) / std, 0, atol=bound)
    np.testing.assert_allclose(moved.std(axis=0), std, rtol=0.06)
    rows, columns = moved.T
    for first, second in (
        (rows, columns),
        (rows[1:], rows[:-1]),
        (columns[1:], columns[:-1]),
        (rows[1:], columns[:-1]),
    ):
        assert abs(np.corrcoef(first, second)[0, 1]) < bound


def test_the_distortions_of_one_kind_are_independent_of_the_others() -> None:
    """Angle, slope and size, read from the sampled points, and the shift."""
    points = displacements(2000, rotation=10.0, shear=10.0, scale=0.1, shift=1.5) + np.mgrid[:28, :28][:, None]
    origin = points[..., 13, 13]
    down, right = points[..., 14, 13] - origin, points[..., 13, 14] - origin
    angle = np.arctan2(-right[0], down[0])  # of the first row of the matrix, which shear leaves as it is
    size = np.hypot(right[0], down[0])
    slope = (down[0] * down[1] + right[0] * right[1]) / size**2
    amounts = np.stack([angle, size, slope, *points[..., 13:15, 13:15].mean(axis=(2, 3))])
    assert abs(np.corrcoef(amounts) - np.eye(5)).max() < 4 / np.sqrt(2000)


def test_the_generator_decides_and_the_input_is_not_modified() -> None:
    images = blob(10, 15, 4)
    given, augmentation = images.copy(), Augmentation(config(rotation=10.0, elastic=1.0), BACKGROUND)
    first, same, other = (augmentation(images, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == same).all()
    assert not np.allclose(first, other)
    assert not np.allclose(first[0], first[1])
    assert (images == given).all()


def test_images_keep_their_dtype_and_their_places() -> None:
    """Digits of known brightness stay where they are in the batch, in float64 too."""
    for dtype in (np.float32, np.float64):
        images = np.ones((9, 28, 28), dtype) * np.arange(9, dtype=dtype)[:, None, None]
        moved = Augmentation(DEFAULT, 0.0)(images, np.random.default_rng(0))
        assert moved.dtype == dtype
        np.testing.assert_allclose(moved[:, 10:18, 10:18], images[:, 10:18, 10:18], rtol=1e-6)


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


def test_points_are_float32_as_the_images_are() -> None:
    """In float64 they would take twice the time, and give other last digits."""
    augmentation = Augmentation(config(rotation=10.0, elastic=1.0), BACKGROUND)
    points = augmentation._coefficients(2, np.random.default_rng(0)) @ augmentation._basis
    assert points.dtype == augmentation._basis.dtype == np.float32
