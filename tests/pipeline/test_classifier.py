"""Standardization of every pixel value, and predicting in batches that leave no image out."""

from typing import cast

import numpy as np
import pytest

from stages.pipeline.classifier import (
    PREDICTION_BATCH,
    UNSTANDARDIZED,
    Classifier,
    Images,
    Probabilities,
    Standardization,
    predict_in_batches,
)

PIXELS = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize("standardization", [Standardization(0.1307, 0.3081), Standardization(0.7, 0.02)])
def test_every_pixel_becomes_its_distance_from_the_mean_in_standard_deviations(
    standardization: Standardization,
) -> None:
    mean, std = standardization
    expected = (PIXELS / 255 - mean) / std
    applied = standardization.apply(PIXELS.reshape(2, 16, 8))
    assert applied.dtype == np.float32
    assert (applied == expected.astype(np.float32).reshape(2, 16, 8)).all()


def test_unstandardized_pixels_are_from_0_to_1() -> None:
    assert (UNSTANDARDIZED.apply(PIXELS) == (PIXELS / 255).astype(np.float32)).all()


class Numbering:
    """Predicts from its first pixel the number of each image, and remembers the sizes of its batches."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def predict(self, images: Images) -> Probabilities:
        self.sizes.append(len(images))
        return np.repeat(images[:, 0, :1], 10, axis=1).astype(np.float32)


@pytest.mark.parametrize("count", [1, 249, 250, 251, 499, 500, 501, 1000])
def test_every_image_is_predicted_once_and_in_order_in_batches_of_bounded_size(count: int) -> None:
    images = np.zeros((count, 28, 28), np.float32)
    images[:, 0, 0] = np.arange(count)
    classifier = Numbering()
    probabilities = predict_in_batches(cast(Classifier, classifier), images)
    assert probabilities.dtype == np.float32
    assert (probabilities == np.arange(count)[:, None]).all()
    assert probabilities.shape == (count, 10)
    full, rest = divmod(count, PREDICTION_BATCH)
    assert PREDICTION_BATCH == 250  # the last digits of a matrix product may depend on the batch's size
    assert classifier.sizes == [250] * full + [rest] * (rest > 0)
