"""One seed gives every random thing a stream of its own, which no other moves."""

import numpy as np
import pytest

from stages.pipeline.rng import Generators, spawn_generators

# A new one goes last: the streams of those before it, and so all results, stay as they are.
ORDER = ("split", "weights", "shuffling", "synthetic_train", "synthetic_test", "dropout", "augmentation")


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_each_generator_has_the_stream_of_its_place_in_the_order(seed: int) -> None:
    assert Generators._fields[: len(ORDER)] == ORDER
    for key, name in enumerate(ORDER):
        expected = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(key,)))
        assert (getattr(spawn_generators(seed), name).random(5) == expected.random(5)).all()


def test_no_two_streams_are_equal_and_what_one_draws_moves_no_other() -> None:
    first, second = (
        {name: generator.random() for name, generator in spawn_generators(seed)._asdict().items()} for seed in (1, 2)
    )
    assert len({*first.values(), *second.values()}) == 2 * len(Generators._fields)
    generators = spawn_generators(1)._asdict()
    assert {name: generators[name].random(9)[0] for name in reversed(generators)} == first
