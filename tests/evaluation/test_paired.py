"""The paired interval and its test, against a closed form, the likelihood itself, published examples and exact sums."""

from functools import cache

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar
from scipy.special import xlogy
from scipy.stats import binom, chi2

from stages.evaluation.paired import count_discordant, mcnemar_pvalue, tango_interval

SMALL = [(b, c, n) for n in (1, 2, 5, 12, 21) for b in range(n + 1) for c in range(n + 1 - b)]
LARGE = [(75, 43, 10_000), (0, 12, 10_000), (5, 0, 200), (300, 420, 1000), (40, 20, 160), (1, 1, 10_000)]
CUTOFF = float(chi2.ppf(0.95, 1))


@pytest.mark.parametrize(
    ("only_first", "only_second", "total", "expected"),
    [(1, 7, 21, (-0.517, -0.026)), (0, 0, 50, (-CUTOFF / (50 + CUTOFF), CUTOFF / (50 + CUTOFF)))],
    ids=["Fagerland et al. 2014, Bentur's airways", "no discordant pair"],
)
def test_the_interval_of_published_examples(
    only_first: int, only_second: int, total: int, expected: tuple[float, float]
) -> None:
    assert tango_interval(only_first, only_second, total) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("swapped", [False, True])
def test_the_interval_is_the_closed_form_of_yang_sun_and_hardin(swapped: bool) -> None:
    """2013, Statistics in Medicine 32:1336: the outer real roots of a polynomial of degree 4."""
    for only_first, only_second, total in SMALL + LARGE:
        b, c = (only_second, only_first) if swapped else (only_first, only_second)
        d, s, r = b - c, b + c, total / CUTOFF
        polynomial = [
            total**2 * (r + 1) ** 2,
            -total * d * (r + 1) * (4 * r + 1),
            2 * total * d**2 * (3 * r + 2) / CUTOFF - total**2 * (s / CUTOFF + 1),
            total * d * (2 * s / CUTOFF + 1) - d**3 * (4 * r + 1) / CUTOFF,
            d**2 * (d**2 / CUTOFF - s) / CUTOFF,
        ]
        roots = np.roots(polynomial)
        real = roots.real[np.abs(roots.imag) < 1e-4]  # a double root, where a cell is empty, is inexact
        low, high = tango_interval(b, c, total)
        assert (low, high) == pytest.approx((max(min(real), -1), min(max(real), 1)), abs=2e-6), (b, c, total)
        assert low <= d / total <= high


def test_the_interval_has_the_differences_that_the_likelihood_does_not_reject() -> None:
    """The statistic from its definition, with the multinomial likelihood maximized numerically."""
    for b, c, n in [(1, 7, 21), (3, 0, 12), (10, 0, 50), (2, 2, 9), (40, 20, 160)]:

        def statistic(difference: float, b: int = b, c: int = c, n: int = n) -> float:
            least = max(0.0, -difference)

            def loss(q: float) -> float:
                cells = [(b, q + difference), (c, q), (n - b - c, 1 - 2 * q - difference)]
                return -sum(float(xlogy(count, max(p, 1e-300))) for count, p in cells)

            q = minimize_scalar(loss, bounds=(least, (1 - difference) / 2), options={"xatol": 1e-12}).x
            return float((b - c - n * difference) ** 2 / (n * (2 * q + difference - difference**2)) - CUTOFF)

        estimate = (b - c) / n
        expected = brentq(statistic, -0.999, estimate), brentq(statistic, estimate, 0.999)
        assert tango_interval(b, c, n) == pytest.approx(expected, abs=1e-5)


def test_every_image_discordant_ends_at_one() -> None:
    """Then (n − z²) / (n + z²), as Wilson's score interval of one proportion, on the scale from -1 to 1."""
    bound = (50 - CUTOFF) / (50 + CUTOFF)
    assert tango_interval(50, 0, 50) == pytest.approx((bound, 1))
    assert tango_interval(0, 50, 50) == pytest.approx((-1, -bound))


@pytest.mark.parametrize(("b", "c"), [(1, 5), (75, 43), (43, 75), (9, 9), (0, 4), (100, 70)])
def test_the_test_is_mcnemars_without_continuity_correction(b: int, c: int) -> None:
    """By the definition of Pearson's statistic of b and c against equal counts."""
    expected = (b + c) / 2
    statistic = (b - expected) ** 2 / expected + (c - expected) ** 2 / expected
    assert mcnemar_pvalue(b, c) == pytest.approx(1 - chi2.cdf(statistic, 1))


def test_no_discordant_image_is_no_evidence() -> None:
    assert mcnemar_pvalue(0, 0) == 1


def test_the_interval_excludes_no_difference_exactly_when_p_is_below_5_percent() -> None:
    for b, c, n in SMALL + LARGE + [(b, c, 1000) for b in range(0, 40, 3) for c in range(0, 40, 2)]:
        low, high = tango_interval(b, c, n)
        assert (low > 0 or high < 0) == (mcnemar_pvalue(b, c) < 0.05), (b, c, n)


@cache
def interval(b: int, c: int, n: int) -> tuple[float, float]:
    return tango_interval(b, c, n)


def exact(n: int, p_first: float, p_second: float) -> tuple[float, float]:
    """Coverage, and how often the test rejects, summed over all counts that occur in all but 1e-7 of cases."""
    coverage = rejected = 0.0
    first = np.arange(binom.ppf(1e-7, n, p_first), binom.isf(1e-7, n, p_first) + 1).astype(int)
    for b, p_b in zip(first.tolist(), binom.pmf(first, n, p_first), strict=True):
        left, share = n - b, p_second / (1 - p_first)
        second = np.arange(binom.ppf(1e-7, left, share), binom.isf(1e-7, left, share) + 1).astype(int)
        for c, p_c in zip(second.tolist(), binom.pmf(second, left, share), strict=True):
            low, high = interval(b, c, n)
            coverage += p_b * p_c * (low <= p_first - p_second <= high)
            rejected += p_b * p_c * (mcnemar_pvalue(b, c) < 0.05)
    return coverage, rejected


COVERAGE = {  # as in tests/README.md, in percent
    (200, 0.01, 0.0): 98.4,
    (200, 0.01, 0.01): 95.8,
    (200, 0.01, 0.02): 94.0,
    (1000, 0.01, 0.0): 96.4,
    (1000, 0.01, 0.01): 94.8,
    (1000, 0.01, 0.02): 95.1,
    (10_000, 0.01, 0.0): 95.0,
    (10_000, 0.01, 0.01): 95.0,
    (10_000, 0.01, 0.02): 95.0,
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=pytest.mark.slow if case[0] * case[2] > 5 else ()) for case in COVERAGE],
)
def test_the_interval_covers_the_truth_as_often_as_the_readme_says(case: tuple[int, float, float]) -> None:
    found, rejected = exact(*case)
    assert round(100 * found, 1) == COVERAGE[case]
    if case[1] == case[2]:
        assert rejected == pytest.approx(1 - found, abs=1e-6)


def test_discordant_images_are_counted_each_on_its_side() -> None:
    labels = np.array([0, 1, 2, 3, 4, 5])
    first = np.array([0, 1, 2, 0, 0, 9])  # right three times
    second = np.array([0, 9, 9, 3, 0, 9])
    assert count_discordant(first, second, labels) == (2, 1)
    assert count_discordant(second, first, labels) == (1, 2)
