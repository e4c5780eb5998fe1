"""What `make seeds` computes of several seeds, by the textbook's formulas."""

import numpy as np
import pytest
from scipy.stats import t

from tests.benchmarks.experiments import summary
from tests.benchmarks.seeds import difference


def interval(values: np.ndarray) -> list[float]:
    """The 95 % interval of the mean."""
    margin = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return [float(np.mean(values) - margin), float(np.mean(values) + margin)]


def test_the_difference_has_an_interval_over_trainings_and_one_over_images() -> None:
    generator = np.random.default_rng(0)
    torch, scratch = generator.random((4, 50)) < 0.9, generator.random((4, 50)) < 0.7
    found = difference({"scratch": scratch, "torch": torch})
    assert list(found) == ["mean", "over_trainings", "over_images"]
    assert found["mean"] == pytest.approx(torch.mean() - scratch.mean(), abs=1e-6)
    assert found["mean"] > 0.1
    assert found["over_trainings"] == pytest.approx(interval(torch.mean(1) - scratch.mean(1)), abs=1e-6)
    assert found["over_images"] == pytest.approx(interval(torch.mean(0) - scratch.mean(0)), abs=1e-6)


def test_the_summary_has_the_mean_and_the_sample_standard_deviation() -> None:
    accuracies = [0.98, 0.99, 0.97, 0.985]
    expected = {
        "accuracies": accuracies,
        "mean": 0.98125,
        "standard_deviation": round(float(np.std(accuracies, ddof=1)), 6),
    }
    assert summary(accuracies) == expected
