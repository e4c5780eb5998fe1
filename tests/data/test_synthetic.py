"""Synthetic digits: reproducible, balanced, all different, and recognizable."""

import numpy as np
import pytest

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
