"""Threads that share a batch learn what one thread learns, for any size of it, and never wait for a failed one."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from stages.scratch.classifier import ScratchClassifier
from stages.scratch.parallel import Piece, in_pieces

ALL_OPTIONS: dict[str, Any] = {
    "channels": [3, 4],
    "hidden": [12],
    "batch_norm": True,
    "dropout": 0.3,
    "label_smoothing": 0.1,
    "optimizer": "adamw",
    "weight_decay": 0.1,
    "gradient_clip": 1.0,
    "ema": 0.9,
}


def trained(threads: int, batch: int) -> ScratchClassifier:
    classifier = ScratchClassifier(
        generator=np.random.default_rng(1),
        dropout_generator=np.random.default_rng(2),
        threads=threads,
        dtype=np.float64,
        **ALL_OPTIONS,
    )
    generator = np.random.default_rng(3)
    for _ in range(5):
        classifier.train_batch(generator.normal(size=(batch, 28, 28)), generator.integers(10, size=batch), 0.01)
    return classifier


@pytest.mark.parametrize("batch", [2, 16, 17])
@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_learns_the_same(threads: int, batch: int) -> None:
    """Also where a batch has fewer digits than there are threads; only the order of sums differs."""
    images = np.random.default_rng(4).normal(size=(50, 28, 28))
    alone, together = trained(1, batch), trained(threads, batch)
    for name, array in alone.training_state().items():
        other = together.training_state()[name]
        if array.dtype.kind == "f":
            np.testing.assert_allclose(other, array, rtol=1e-8, atol=1e-12, err_msg=name)
        else:  # the generator of dropout, too, has drawn the same
            assert other == array
    np.testing.assert_allclose(together.predict(images), alone.predict(images), rtol=1e-5)


def test_the_same_number_of_threads_gives_the_same_bytes() -> None:
    assert trained(2, 17).to_bytes() == trained(2, 17).to_bytes()


def test_many_exchanges_never_mix() -> None:
    """Ten thousand of them in a row, in which every thread must see the values of the same exchange."""

    def exchange(piece: Piece) -> bool:
        return all(piece.gather((number, piece.index)) == [(number, 0), (number, 1)] for number in range(10_000))

    with ThreadPoolExecutor(1) as threads:
        assert in_pieces(8, [exchange, exchange], threads) == [True, True]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_where_one_piece_fails_the_others_do_not_wait(failing: int) -> None:
    def work(piece: Piece) -> None:
        if piece.index == failing:
            raise ZeroDivisionError
        piece.gather(None)

    with ThreadPoolExecutor(2) as threads:
        with pytest.raises(ZeroDivisionError):
            in_pieces(8, [work] * 3, threads)
        assert in_pieces(8, [lambda piece: piece.index] * 3, threads) == [0, 1, 2]


class Exhausted(ThreadPoolExecutor):
    """Takes one piece of work and no second one, as a machine without memory for another thread."""

    def submit(self, *arguments: Any, **options: Any) -> Any:
        if self._threads:
            raise RuntimeError("can't start new thread")
        return super().submit(*arguments, **options)


def test_where_a_thread_cannot_be_had_those_that_work_do_not_wait() -> None:
    with Exhausted(2) as threads, pytest.raises(RuntimeError, match="can't start new thread"):
        in_pieces(8, [lambda piece: piece.gather(None)] * 3, threads)


def test_overflow_is_what_the_caller_makes_of_it() -> None:
    def overflow(piece: Piece) -> None:
        np.full(1000, 1e308) * (10.0 + piece.index)

    with ThreadPoolExecutor(1) as threads:
        with np.errstate(over="ignore"):
            in_pieces(8, [overflow, overflow], threads)
        with np.errstate(over="raise"), pytest.raises(FloatingPointError):
            in_pieces(8, [id, overflow], threads)
