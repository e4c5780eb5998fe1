"""Accuracy and cross-entropy, against scikit-learn, PyTorch and a plain loop."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss

from stages.pipeline.metrics import SMALLEST, accuracy, cross_entropy


@pytest.mark.parametrize("sharpness", [0.1, 1, 5, 30])
@pytest.mark.parametrize("count", [1, 2, 10, 5000])
def test_both_metrics_are_those_of_other_libraries(count: int, sharpness: float) -> None:
    generator = np.random.default_rng(count)
    labels = generator.integers(10, size=count)
    logits = torch.from_numpy(sharpness * (generator.normal(size=(count, 10)) + np.eye(10)[labels])).float()
    probabilities = torch.softmax(logits, 1).numpy()
    assert accuracy(probabilities, labels) == accuracy_score(labels, logits.argmax(1))
    exact = -math.fsum(
        math.log(max(p[label], SMALLEST)) for p, label in zip(probabilities.tolist(), labels, strict=True)
    )
    assert cross_entropy(probabilities, labels) == pytest.approx(exact / count, rel=1e-13)
    if sharpness < 30:  # where nothing underflows
        of_logits = torch.nn.functional.cross_entropy(logits.double(), torch.from_numpy(labels)).item()
        assert cross_entropy(probabilities, labels) == pytest.approx(of_logits, rel=1e-5)
        probabilities = probabilities.astype(np.float64)
        normalized = probabilities / probabilities.sum(axis=1, keepdims=True)
        assert cross_entropy(probabilities, labels) == pytest.approx(
            log_loss(labels, normalized, labels=range(10)), rel=1e-5
        )


def test_between_equally_probable_classes_the_first_is_predicted() -> None:
    probabilities = np.full((10, 10), 0.1, np.float32)
    assert accuracy(probabilities, np.arange(10)) == 0.1
    assert accuracy(probabilities, np.zeros(10, np.int64)) == 1


@pytest.mark.parametrize("probability", [0.0, 1e-45, 1e-40, SMALLEST, 2 * SMALLEST, 0.5, 1.0])
def test_what_underflows_costs_as_much_as_the_smallest_normal_float32(probability: float) -> None:
    right = np.float32(probability)
    row = np.array([[1 - right, right]], np.float32)
    assert cross_entropy(row, np.array([1])) == pytest.approx(-math.log(max(float(right), 2.0**-126)), rel=1e-15)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_probability_that_is_no_number_makes_the_loss_none_where_it_is_the_labels(wrong: float) -> None:
    probabilities = np.array([[0.5, 0.5], [0.5, wrong], [0.5, 0.5]], np.float32)
    assert math.isnan(cross_entropy(probabilities, np.array([0, 1, 1])))
    assert cross_entropy(probabilities, np.array([0, 0, 1])) == pytest.approx(math.log(2))
