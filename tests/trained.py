"""Classifiers that have been trained a little, on drawn digits, so that their answers differ from image to image."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from stages.data import synthetic
from stages.data.idx import TEST_IMAGES, TEST_LABELS, decode
from stages.engines import make
from stages.engines.config import EngineConfig
from stages.pipeline.classifier import Classifier, Standardization
from stages.pipeline.config import FetchConfig
from stages.pipeline.rng import spawn_generators

STANDARDIZATION = Standardization(0.1307, 0.3081)
EPOCHS, BATCH = 3, 50


@cache
def draw_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """1,000 images uint8 (1000, 28, 28), and their labels."""
    files = synthetic.fetch(FetchConfig(synthetic_train_size=20, synthetic_test_size=1000), 0)
    images, labels = (decode(name, files[name]) for name in (TEST_IMAGES, TEST_LABELS))
    return images, labels.astype(np.int64)


def train(engine: str, config: EngineConfig) -> Classifier:
    """A classifier after a few steps."""
    classifier = make(engine, config, spawn_generators(0), STANDARDIZATION)
    pixels, labels = draw_digits()
    images = STANDARDIZATION.apply(pixels)
    for start in [*range(0, len(images), BATCH)] * EPOCHS:
        batch = slice(start, start + BATCH)
        classifier.train_batch(images[batch], labels[batch], 0.01)
    return classifier
