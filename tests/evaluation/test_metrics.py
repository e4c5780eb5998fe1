"""The metrics against independent computations: scikit-learn, torch, plain loops, simulation, published examples."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from sklearn import metrics as sklearn

from stages.evaluation.calibration import (
    calibration_error_if_calibrated,
    calibration_error_interval,
    expected_calibration_error,
)
from stages.evaluation.metrics import (
    confusion_matrix,
    macro_f1,
    wilson_interval,
)
from stages.evaluation.paired import comparison_metrics, mcnemar_pvalue, tango_interval
from stages.evaluation.results import engine_metrics, rounded, summary
from stages.evaluation.tables import make_tables, most_frequent_confusions
from stages.pipeline.history import EpochMetrics
from stages.pipeline.metrics import cross_entropy

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(10, size=500)
LOGITS = GENERATOR.normal(size=(500, 10)) + 2 * np.eye(10)[LABELS]
PROBABILITIES = torch.softmax(torch.from_numpy(LOGITS), 1).float().numpy()
PREDICTED = PROBABILITIES.argmax(axis=1)


def certain(predicted: np.ndarray) -> np.ndarray:
    """Probabilities of which the predicted class has all."""
    return np.asarray(np.eye(10)[predicted], np.float32)


def test_cross_entropy_is_torchs_on_the_logits() -> None:
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(LOGITS), torch.from_numpy(LABELS)).item()
    assert cross_entropy(PROBABILITIES, LABELS) == pytest.approx(expected, rel=1e-6)


def test_a_probability_of_0_costs_much_but_not_everything() -> None:
    assert cross_entropy(np.array([[0, 1]], np.float32), np.array([0])) == pytest.approx(87.34, abs=0.01)
    assert np.isnan(cross_entropy(np.array([[np.nan, 1]], np.float32), np.array([0])))


@pytest.mark.parametrize(
    ("predicted", "labels"),
    [(PREDICTED, LABELS), (np.array([1, 2, 2]), np.array([1, 1, 0]))],
    ids=["all classes", "classes that do not occur or are never predicted"],
)
def test_the_confusion_matrix_and_the_scores_per_class_are_scikit_learns(
    predicted: np.ndarray, labels: np.ndarray
) -> None:
    matrix = confusion_matrix(predicted, labels)
    np.testing.assert_array_equal(matrix, sklearn.confusion_matrix(labels, predicted, labels=range(10)))
    rows = np.array(make_tables(certain(predicted), labels)["classes"].rows)
    precision, recall, f1, support = sklearn.precision_recall_fscore_support(
        labels, predicted, labels=range(10), zero_division=np.nan
    )
    np.testing.assert_allclose(rows[:, [0, 1, 2, 3, 6]], np.transpose([range(10), support, precision, recall, f1]))
    macro = sklearn.f1_score(labels, predicted, average="macro")
    assert macro_f1(matrix) == pytest.approx(macro)


def test_the_tables_hold_every_cell_and_the_interval_of_every_recall() -> None:
    labels, predicted = np.array([1, 1]), np.array([1, 2])
    matrix, tables = confusion_matrix(predicted, labels), make_tables(certain(predicted), labels)
    assert tables["confusion"].columns == ("actual", "predicted", "count")
    assert {cell[:2]: cell[2] for cell in tables["confusion"].rows} == dict(np.ndenumerate(matrix))
    columns, (absent, present, *_) = tables["classes"]
    assert columns == ("class", "support", "precision", "recall", "recall_low", "recall_high", "f1")
    assert present[4:6] == wilson_interval(1, 2)
    assert all(math.isnan(score) for score in absent[2:])


def test_the_most_frequent_confusions_come_first_and_correct_predictions_not_at_all() -> None:
    labels = np.array([4, 4, 4, 4, 7, 7, 2, 5, 5, 5, 5])
    predicted = np.array([9, 9, 9, 4, 1, 1, 7, 5, 5, 5, 5])
    columns, rows = make_tables(certain(predicted), labels)["confusions"]
    assert columns == ("actual", "predicted", "count", "fraction")
    assert rows == [(4, 9, 3, 0.75), (7, 1, 2, 1.0), (2, 7, 1, 1.0)]
    matrix = confusion_matrix(PREDICTED, LABELS)
    counts = [row[2] for row in most_frequent_confusions(matrix)]
    assert counts == sorted(matrix[~np.eye(10, dtype=bool)].tolist(), reverse=True)[:10]


def test_each_misclassified_image_is_listed_with_its_class_the_predicted_one_and_its_confidence() -> None:
    columns, rows = make_tables(PROBABILITIES, LABELS)["mistakes"]
    assert columns == ("index", "actual", "predicted", "confidence")
    expected = [
        (index, label, predicted, max(probabilities))
        for index, (label, predicted, probabilities) in enumerate(zip(LABELS, PREDICTED, PROBABILITIES, strict=True))
        if label != predicted
    ]
    assert rows == expected
    assert len(rows) > 50
    assert {type(value) for row in rows for value in row} == {int, float}  # as `rounded` and git want them
    assert make_tables(certain(LABELS), LABELS)["mistakes"].rows == []


@pytest.mark.parametrize("total", [1, 7, 100, 9999])
def test_wilson_interval_is_the_roots_of_the_score_equation(total: int) -> None:
    """(p̂ − p)² = z² p (1 − p) / n, with z² the 95 % quantile of chi-squared."""
    square = float(chi2.ppf(0.95, 1))
    for correct in {0, 1, total // 3, total - 1, total}:
        fraction = correct / total
        roots = np.roots([1 + square / total, -2 * fraction - square / total, fraction**2])
        assert wilson_interval(correct, total) == pytest.approx(sorted(roots.real), abs=1e-7)


def test_wilson_interval_of_a_published_example() -> None:
    """81 of 263: 0.2553 to 0.3662 (Newcombe 1998, Statistics in Medicine 17, table I, method 3)."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_comparison_of_two_classifiers_by_hand() -> None:
    labels = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    first = np.array([0, 1, 2, 3, 4, 5, 0, 1, 2, 9])
    second = np.array([0, 1, 2, 3, 0, 0, 6, 1, 3, 9])  # the same error at 7, another one at 8
    assert comparison_metrics(first, second, labels) == pytest.approx(
        {
            "accuracy_difference": 1 / 10,
            "accuracy_difference_low": tango_interval(2, 1, 10).low,
            "accuracy_difference_high": tango_interval(2, 1, 10).high,
            "mcnemar_p": mcnemar_pvalue(2, 1),
            "agreement": 6 / 10,
            "both_wrong": 2,
        }
    )
    assert comparison_metrics(second, first, labels)["accuracy_difference"] == -1 / 10


def test_the_summary_has_validation_of_the_kept_epoch_and_accuracy_on_the_test_split() -> None:
    best = {
        "torch": EpochMetrics(3, 0.1, train_loss=1, train_accuracy=0.1, validation_loss=2, validation_accuracy=0.2),
        "scratch": EpochMetrics(4, 0.1, train_loss=3, train_accuracy=0.3, validation_loss=4, validation_accuracy=0.4),
    }
    predicted = {"torch": np.array([0, 1, 2, 3]), "scratch": np.array([0, 9, 9, 9])}
    assert summary(best, predicted, np.array([0, 1, 2, 9])) == {
        "torch": {"val": 0.2, "val_loss": 2, "test": 0.75},
        "scratch": {"val": 0.4, "val_loss": 4, "test": 0.5},
    }


def test_the_metrics_of_an_engine_are_those_of_scikit_learn_torch_and_calibration() -> None:
    found, correct = engine_metrics(PROBABILITIES, LABELS), int(np.sum(PREDICTED == LABELS))
    low, high = calibration_error_interval(PROBABILITIES, LABELS)
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(LOGITS), torch.from_numpy(LABELS)).item()
    recall = found.pop("per_class")
    assert found == pytest.approx(
        {
            "accuracy": correct / 500,
            "accuracy_low": wilson_interval(correct, 500).low,
            "accuracy_high": wilson_interval(correct, 500).high,
            "error_rate": 1 - correct / 500,
            "loss": loss,
            "macro_f1": sklearn.f1_score(LABELS, PREDICTED, average="macro"),
            "calibration_error": expected_calibration_error(PROBABILITIES, LABELS),
            "calibration_error_low": low,
            "calibration_error_high": high,
            "calibration_error_if_calibrated": calibration_error_if_calibrated(PROBABILITIES),
        },
        rel=1e-6,
    )
    assert recall == pytest.approx(sklearn.recall_score(LABELS, PREDICTED, average=None).tolist())
    assert engine_metrics(PROBABILITIES[LABELS > 0], LABELS[LABELS > 0])["per_class"][0] is None


def test_every_float_is_rounded_to_six_significant_digits_however_deep() -> None:
    content = {"a": 1 / 3, "b": [np.float64(2e7 / 3), None, 1234567], "c": {"d": (1e-9 / 3, "text", True)}}
    assert rounded(content) == {"a": 0.333333, "b": [6666670.0, None, 1234567], "c": {"d": [3.33333e-10, "text", True]}}
