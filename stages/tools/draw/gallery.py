"""The test images of the gallery: what each engine misclassifies, most confident first, and some that all get right."""

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.data.idx import Bytes, read_split
from stages.evaluate import read_dataset_name
from stages.pipeline import metrics
from stages.pipeline.classifier import Classifier, Labels, Probabilities, predict_in_batches

RAW = Path("data/raw")
MOST_WRONG, MOST_RIGHT = 150, 60  # images of an engine, and of all; they keep the page small
SEED = 1  # of the choice among what is right


class PredictedImages(NamedTuple):
    """Raw test images uint8 (N, 28, 28), their labels (N,), and each engine's probabilities (N, 10)."""

    dataset: str
    images: Bytes
    labels: Labels
    probabilities: dict[str, Probabilities]

    def accuracy(self, engine: str) -> float:
        """The fraction that an engine classifies correctly."""
        return metrics.accuracy(self.probabilities[engine], self.labels)


def predict_test_images(classifiers: Mapping[str, Classifier]) -> PredictedImages:
    """Read the raw test images and predict them with each classifier. Raises PipelineError if they are not there."""
    dataset = read_dataset_name()
    images, labels = read_split(RAW, "test")
    probabilities = {
        engine: predict_in_batches(classifier, classifier.standardization.apply(images))
        for engine, classifier in classifiers.items()
    }
    return PredictedImages(dataset, images, labels.astype(np.int64), probabilities)


def make_gallery(test: PredictedImages) -> dict[str, Any]:
    """The gallery as JSON: the pixels of its images in base64, and lists of them by their place there."""
    wrong = {engine: _most_confident_errors(test, engine) for engine in test.probabilities}
    right = _some_right(test)
    shown = np.unique(np.concatenate([*(chosen[:MOST_WRONG] for chosen in wrong.values()), right]))
    place = {int(index): position for position, index in enumerate(shown)}

    def entry(index: int, engine: str) -> dict[str, Any]:
        probabilities = test.probabilities[engine][index]
        return {
            "image": place[index],
            "label": int(test.labels[index]),
            "answer": int(probabilities.argmax()),
            "confidence": round(float(probabilities.max()), 4),
        }

    return {
        "dataset": test.dataset,
        "count": len(test.labels),
        "pixels": b64encode(test.images[shown].tobytes()).decode(),
        "wrong": [
            {"engine": engine, "total": len(chosen), "items": [entry(index, engine) for index in chosen[:MOST_WRONG]]}
            for engine, chosen in ((engine, indices.tolist()) for engine, indices in wrong.items())
        ],
        "right": [{"image": place[index], "label": int(test.labels[index])} for index in right.tolist()],
    }


def _most_confident_errors(test: PredictedImages, engine: str) -> NDArray[np.intp]:
    probabilities = test.probabilities[engine]
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != test.labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")]


def _some_right(test: PredictedImages) -> NDArray[np.intp]:
    """Some of the images that every engine classifies correctly, in random order, the same in every run."""
    answers = np.array([probabilities.argmax(axis=1) for probabilities in test.probabilities.values()])
    right = np.flatnonzero((answers == test.labels).all(axis=0))
    return np.random.default_rng(SEED).permutation(right)[:MOST_RIGHT]
