"""The loss and its gradient agree with torch in float64, and stay finite where a naive formula would not."""

import numpy as np
import pytest
import scipy
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.engines.scratch.losses import CrossEntropyLoss, log_softmax
from tests.engines.scratch.against_torch import assert_close


@given(
    st.integers(1, 9),
    st.integers(1, 12),
    st.floats(0.01, 100),
    st.just(0.0) | st.floats(0, 0.99),
    st.integers(0, 2**32),
)
def test_cross_entropy_agrees_with_torch(batch: int, classes: int, scale: float, smoothing: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits = scale * generator.normal(size=(batch, classes))
    labels = generator.integers(classes, size=batch)
    torch_logits = torch.from_numpy(logits.copy()).requires_grad_()
    torch_loss = torch.nn.functional.cross_entropy(torch_logits, torch.from_numpy(labels), label_smoothing=smoothing)
    torch.autograd.backward(torch_loss)
    loss = CrossEntropyLoss(label_smoothing=smoothing)
    assert_close(np.array(loss.forward(logits, labels)), torch_loss)
    assert torch_logits.grad is not None
    assert_close(loss.backward(), torch_logits.grad)


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_log_softmax_is_scipys_along_any_axis_and_leaves_its_logits_as_they_are(dim: int, scale: float) -> None:
    logits = scale * np.random.default_rng(0).normal(size=(3, 4, 5))
    given_logits = logits.copy()
    np.testing.assert_allclose(log_softmax(logits, dim), scipy.special.log_softmax(logits, dim), rtol=1e-13, atol=1e-15)
    CrossEntropyLoss().forward(logits[0], np.array([0, 1, 2, 3]))
    assert (logits == given_logits).all()


def test_logits_of_ten_thousand_stay_finite_in_float32() -> None:
    logits = np.array([[1e4, 0, -1e4], [-1e4, 1e4, 0]], np.float32)
    loss = CrossEntropyLoss()
    assert loss.forward(logits, np.array([2, 1])) == 1e4
    assert np.isfinite(loss.backward()).all()
    assert log_softmax(logits).dtype == loss.backward().dtype == np.float32
