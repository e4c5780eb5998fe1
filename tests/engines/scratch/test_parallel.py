"""Data parallelism trains as one thread does, for any batch size, and no thread ever waits for a failed one."""

import gc
import random
import signal
import threading
import time
import weakref
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from stages.engines.scratch.parallel import Shard, WorkerExitedError, WorkerGroup
from stages.engines.scratch_engine import ScratchClassifier
from stages.pipeline.rng import spawn_generators
from tests.configs import make_config

CONFIG = make_config(
    channels=[3, 4],
    hidden_sizes=[12],
    batch_norm=True,
    dropout=0.3,
    label_smoothing=0.1,
    name="adamw",
    weight_decay=0.1,
    max_grad_norm=1.0,
    ema_decay=0.9,
)


def trained(threads: int, largest: int) -> ScratchClassifier:
    """Trained on batches that become smaller, so that some workers run out of work."""
    classifier = ScratchClassifier(CONFIG.updated(threads=threads), spawn_generators(1), dtype="float64")
    generator = np.random.default_rng(3)
    for batch in (largest, largest, largest - 1, 2, largest):
        classifier.train_batch(generator.normal(size=(batch, 28, 28)), generator.integers(10, size=batch), 0.01)
    return classifier


@pytest.mark.parametrize("largest", [3, 16, 17])
@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_trains_the_same_network(threads: int, largest: int) -> None:
    """Also where a batch has fewer images than there are threads; only the order of sums differs."""
    images = np.random.default_rng(4).normal(size=(50, 28, 28))
    alone, together = trained(1, largest), trained(threads, largest)
    for name, array in alone.training_state().items():
        other = together.training_state()[name]
        if array.dtype.kind == "f":
            np.testing.assert_allclose(other, array, rtol=1e-8, atol=1e-12, err_msg=name)
        else:  # the generator of dropout, too, has drawn the same
            assert other == array
    np.testing.assert_allclose(together.predict(images), alone.predict(images), rtol=1e-5)


def test_the_same_number_of_threads_gives_the_same_bytes() -> None:
    assert trained(2, 17).to_bytes() == trained(2, 17).to_bytes()


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shards_are_consecutive_of_equal_size_to_one_example_and_one_for_each_thread(size: int) -> None:
    group, caller = WorkerGroup(size), threading.get_ident()

    def describe(shard: Shard) -> tuple[int, list[int], int]:
        return shard.rank, list(range(batch_size))[shard.examples], threading.get_ident()

    for batch_size in range(1, 21):
        ranks, parts, threads = zip(*group.run(batch_size, [describe] * size), strict=True)
        used = min(size, batch_size)
        assert ranks == tuple(range(used))
        ends = [batch_size * rank // used for rank in range(used + 1)]
        assert [*parts] == [[*range(*bounds)] for bounds in pairwise(ends)]
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        assert threads[0] == caller
        assert len(set(threads)) == used


def test_sums_are_in_order_of_rank_and_equal_in_all_of_them() -> None:
    values = [1e16, 1.0, -1e16, 3.0]  # summed in another order, the result is another

    def add(shard: Shard) -> list[float]:
        return shard.all_reduce(values[shard.rank], shard.rank)

    assert WorkerGroup(4).run(4, [add] * 4) == [[((1e16 + 1.0) - 1e16) + 3.0, 6]] * 4
    assert Shard().all_reduce(2.5, 3) == [2.5, 3]


def test_of_several_errors_that_of_the_lowest_rank_is_raised_and_a_real_one_before_its_consequences() -> None:
    def fail(shard: Shard) -> None:
        if shard.rank == 0:
            shard.all_gather(None)
        raise LookupError(shard.rank)

    with pytest.raises(LookupError) as raised:
        WorkerGroup(3).run(8, [fail] * 3)
    assert raised.value.args == (1,)


def test_a_worker_forgets_its_task_once_it_is_done() -> None:
    """It would keep a replica and a batch alive."""

    class Task:
        def __call__(self, shard: Shard) -> int:
            return shard.rank

    group, task = WorkerGroup(2), Task()
    alive = weakref.ref(task)
    tasks: list[Callable[[Shard], int]] = [lambda shard: shard.rank, task]
    assert group.run(8, tasks) == [0, 1]
    del tasks
    del task
    for _ in range(100):
        if alive() is None:
            break
        time.sleep(0.01)
    assert alive() is None


def test_threads_do_not_keep_the_program_from_ending() -> None:
    group = WorkerGroup(2)

    def is_daemon(shard: Shard) -> bool:
        return shard.rank == 0 or threading.current_thread().daemon

    assert group.run(8, [is_daemon] * 2) == [True, True]


def test_ten_thousand_collective_calls_in_a_row_never_mix_their_values() -> None:

    def exchange(shard: Shard) -> bool:
        return all(shard.all_gather((number, shard.rank)) == [(number, 0), (number, 1)] for number in range(10_000))

    assert WorkerGroup(2).run(8, [exchange, exchange]) == [True, True]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_when_one_worker_fails_the_others_do_not_wait(failing: int) -> None:
    def fail(shard: Shard) -> None:
        if shard.rank == failing:
            raise ZeroDivisionError
        shard.all_gather(None)

    group = WorkerGroup(3)
    with pytest.raises(ZeroDivisionError):
        group.run(8, [fail] * 3)
    assert group.run(8, [lambda shard: shard.rank] * 3) == [0, 1, 2]


@pytest.mark.parametrize("ready", [0, 1])
def test_when_one_worker_makes_fewer_collective_calls_than_the_others_all_fail(ready: int) -> None:
    with pytest.raises(WorkerExitedError):
        WorkerGroup(2).run(8, [lambda shard: shard.rank == ready or shard.all_gather(None)] * 2)


@pytest.mark.interrupting
def test_an_interruption_at_any_moment_leaves_no_thread_waiting() -> None:
    """A thousand of them, as Ctrl-C sends them, at random moments of many short collective calls.

    Python drops a few: those that arrive during garbage collection.
    """
    group, ended = WorkerGroup(3), 0

    def exchange(shard: Shard) -> None:
        for number in range(50):
            shard.all_gather(number)

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for _ in range(1000):
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.003))
                deadline = time.monotonic() + 0.1
                while time.monotonic() < deadline:
                    group.run(8, [exchange] * 3)
            except KeyboardInterrupt:
                ended += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert ended > 900
    assert group.run(8, [lambda shard: shard.rank] * 3) == [0, 1, 2]


def test_a_layer_works_alone_but_not_on_a_shard_whose_batch_is_over() -> None:
    classifier = trained(2, 16)
    batch_norm = classifier.network.layers[2]
    with pytest.raises(WorkerExitedError):
        batch_norm.forward(np.ones((4, 3, 5, 5)))
    batch_norm.shard = Shard()
    assert batch_norm.forward(np.ones((4, 3, 5, 5))).shape == (4, 3, 5, 5)


def test_threads_end_with_their_classifier() -> None:
    """Its own: those of other tests may end meanwhile."""
    before = set(threading.enumerate())
    classifier = trained(3, 16)
    own = set(threading.enumerate()) - before
    assert len(own) == 2
    del classifier
    gc.collect()
    for thread in own:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in own)


def test_workers_follow_the_caller_in_what_numpy_does_on_overflow() -> None:
    def overflow(shard: Shard) -> None:
        np.full(1000, 1e308) * (10.0 + shard.rank)

    group = WorkerGroup(2)
    with np.errstate(over="ignore"):
        group.run(8, [overflow, overflow])
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        group.run(8, [id, overflow])
