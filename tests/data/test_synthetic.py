"""Synthetic digits: reproducible, balanced, all different, and recognizable."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from scipy import ndimage, stats

from stages.data import synthetic
from stages.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, decode
from stages.data.raw_files import RawFiles
from tests.data.faulty_server import fetch_config

CONFIG = fetch_config("synthetic", synthetic_train_size=200, synthetic_test_size=200)


@pytest.fixture(scope="module")
def files() -> RawFiles:
    return synthetic.fetch(CONFIG, 1)


def test_the_seed_determines_every_pixel(files: RawFiles) -> None:
    other = synthetic.fetch(CONFIG, 2)
    assert files == synthetic.fetch(CONFIG, 1)
    assert all(files[name] != other[name] for name in files)


def test_classes_are_balanced_and_shuffled_and_no_image_occurs_twice(files: RawFiles) -> None:
    train, test = decode(TRAIN_LABELS, files[TRAIN_LABELS]), decode(TEST_LABELS, files[TEST_LABELS])
    assert np.bincount(train).tolist() == np.bincount(test).tolist() == [20] * 10
    assert (train[:10] != np.arange(10)).any()
    assert train.tolist() != test.tolist()
    images = np.concatenate([decode(name, files[name]) for name in (TRAIN_IMAGES, TEST_IMAGES)])
    assert images.shape == (400, 28, 28)
    assert len({image.tobytes() for image in images}) == 400


def test_digits_can_be_told_apart_and_are_centered_like_mnists(files: RawFiles) -> None:
    images, labels = decode(TRAIN_IMAGES, files[TRAIN_IMAGES]) / 255, decode(TRAIN_LABELS, files[TRAIN_LABELS])
    class_means = np.stack([images[labels == digit].mean(0) for digit in range(10)])
    test_images = decode(TEST_IMAGES, files[TEST_IMAGES]) / 255
    nearest = ((test_images[:, None] - class_means) ** 2).sum((2, 3)).argmin(1)
    assert (nearest == decode(TEST_LABELS, files[TEST_LABELS])).mean() > 0.5
    assert 0.10 < images.mean() < 0.16  # MNIST: 0.13
    for axis in (1, 2):
        centers = (images.sum(3 - axis) * np.arange(28)).sum(1) / images.sum((1, 2))
        assert abs(centers - 13.5).max() < 3


@pytest.fixture(scope="module")
def glyphs() -> synthetic.Floats:
    return synthetic._glyphs()


def is_uniform(values: np.ndarray[Any, Any], low: float, high: float) -> bool:
    return bool(
        low <= values.min()
        and values.max() <= high
        and stats.kstest(values, "uniform", (low, high - low)).pvalue > 0.001
    )


def are_unrelated(values: Sequence[np.ndarray[Any, Any]]) -> bool:
    return bool(np.abs(np.corrcoef(values) - np.eye(len(values))).max() < 4 / np.sqrt(len(values[0])))


def test_maps_rotate_slant_and_scale_as_far_as_they_should_each_by_itself() -> None:
    maps = synthetic._maps(20_000, np.random.default_rng(0))
    # A map is a lower triangular matrix, of scale and slant, times a rotation: undo it.
    angle, row_scale = np.arctan2(-maps[:, 0, 1], maps[:, 0, 0]), np.hypot(maps[:, 0, 0], maps[:, 0, 1])
    cosine, sine = np.cos(angle), np.sin(angle)
    column_scale = maps[:, 1, 0] * sine + maps[:, 1, 1] * cosine
    slant = (maps[:, 1, 0] * cosine - maps[:, 1, 1] * sine) / column_scale
    draws = {"angle": angle, "slant": slant, "height": 4 / row_scale, "width": 4 / column_scale}
    limits = {"angle": (-0.25, 0.25), "slant": (-0.3, 0.3), "height": (0.9, 1.1), "width": (0.8, 1.2)}
    for name, (low, high) in limits.items():
        assert is_uniform(draws[name].round(12), low, high), name
    assert are_unrelated(list(draws.values()))


def test_an_image_is_its_glyph_under_its_map() -> None:
    generator = np.random.default_rng(1)
    atlas = ndimage.gaussian_filter(generator.uniform(0, 255, (3, 160, 160)), 2, axes=(1, 2)).astype(np.float32)
    indices, maps = np.array([2, 0, 1, 1]), synthetic._maps(4, generator)
    shifts = generator.uniform(-1.5, 1.5, (4, 2))
    images = synthetic._sample(atlas, indices, maps, shifts)
    assert images.dtype == np.uint8
    for image, index, matrix, shift in zip(images, indices, maps, shifts, strict=True):
        offset = matrix @ (shift - 13.5) + 80  # the middle of the image falls on that of the glyph
        expected = ndimage.affine_transform(atlas[index], matrix, offset, (28, 28), order=1)
        assert np.abs(image - expected).max() < 0.51  # rounded


def test_each_image_is_drawn_from_its_own_label_style_map_and_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    size, styles = 6_003, 7
    drawn: list[tuple[Any, ...]] = []

    def remember(atlas: Any, *chunk: Any) -> Any:
        assert (atlas[:, 0, 0] == np.arange(70)).all()
        drawn.append(chunk)
        return np.broadcast_to((chunk[0] % 251)[:, None, None], (len(chunk[0]), 28, 28)).astype(np.uint8)

    monkeypatch.setattr(synthetic, "_sample", remember)
    glyphs = np.broadcast_to(np.arange(70, dtype=np.float32).reshape(10, styles, 1, 1), (10, styles, 160, 160))
    images, labels = synthetic._draw(glyphs, size, np.random.default_rng(2))
    indices, maps, shifts = map(np.concatenate, zip(*drawn, strict=True))
    assert len(indices) == len(maps) == len(shifts) == len(images) == size
    assert (images[:, 5, 5] == indices % 251).all()
    assert (indices // styles == labels).all()
    assert labels.dtype == np.uint8
    assert np.bincount(labels).tolist() == [601] * 3 + [600] * 7
    assert stats.chisquare(np.bincount(indices % styles, minlength=styles)).pvalue > 0.001
    assert is_uniform(shifts[:, 0], -1.5, 1.5)
    assert is_uniform(shifts[:, 1], -1.5, 1.5)
    assert are_unrelated([labels, indices % styles, *shifts.T, maps[:, 0, 1], maps[:, 1, 1]])


def test_training_and_test_images_have_sizes_and_streams_of_their_own() -> None:
    files = synthetic.fetch(fetch_config("synthetic", synthetic_train_size=40, synthetic_test_size=30), 7)
    for images_name, labels_name, size, stream in (
        (TRAIN_IMAGES, TRAIN_LABELS, 40, 3),
        (TEST_IMAGES, TEST_LABELS, 30, 4),
    ):
        generator = np.random.default_rng(np.random.SeedSequence(7, spawn_key=(stream,)))
        labels = decode(labels_name, files[labels_name])
        assert (labels == generator.permutation(np.arange(size) % 10)).all()
        images = decode(images_name, files[images_name])
        assert images.shape == (size, 28, 28)


def moments(images: synthetic.Floats) -> np.ndarray[Any, Any]:
    """Each image's center of mass and variance, by rows and columns: (4, ...)."""
    weights, places = images / images.sum((-2, -1), keepdims=True), np.arange(images.shape[-1])
    profiles = np.stack([weights.sum(-1), weights.sum(-2)])
    centers = profiles @ places
    return np.concatenate([centers, profiles @ places**2 - centers**2])


def test_every_font_draws_every_digit_three_times_blurred_in_the_middle(glyphs: synthetic.Floats) -> None:
    assert glyphs.shape == (10, 21 * 3, 160, 160)
    assert glyphs.dtype == np.float32
    assert len({glyph.tobytes() for glyph in glyphs.reshape(-1, 160, 160)}) == 630
    assert glyphs.min() >= 0
    assert 200 < glyphs.max() <= 255
    assert max(glyphs[..., [0, -1], :].max(), glyphs[..., [0, -1]].max()) < 1  # nothing is cut off
    measured = moments(glyphs.astype(np.float64))
    assert np.abs(measured[:2] - 80).max() < 0.51
    by_blur = measured[2:].reshape(2, 10, 3, 21)
    for position, blur in enumerate((1, 2, 3)):  # a blur adds its variance
        assert by_blur[:, :, position] - by_blur[:, :, 0] == pytest.approx(blur**2 - 1, abs=0.05)


def test_a_glyph_is_as_high_as_mnists_digits_and_the_digit_of_its_font(glyphs: synthetic.Floats) -> None:
    font = FT2Font(font_manager.findfont("DejaVu Sans"))
    sharp = synthetic._glyph(font, "8")
    rows = np.flatnonzero(sharp.max(1) > 128)
    assert 70 <= np.ptp(rows) + 1 <= 80  # of 20 pixels, four times as large
    assert moments(sharp.astype(np.float64))[:2] == pytest.approx(80, abs=0.51)
    np.testing.assert_allclose(glyphs[8, 0], ndimage.gaussian_filter(sharp, 1), atol=1e-3)
