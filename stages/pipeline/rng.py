"""One seed, and a random generator of its own for each thing that is random."""

from typing import NamedTuple

import numpy as np


class Generators(NamedTuple):
    """Independent generators: what one draws never moves another."""

    split: np.random.Generator
    weights: np.random.Generator
    shuffling: np.random.Generator
    synthetic_train: np.random.Generator
    synthetic_test: np.random.Generator
    dropout: np.random.Generator
    augmentation: np.random.Generator


def spawn_generators(seed: int) -> Generators:
    """Return the generators of one seed. New ones go last, so that those before keep their streams."""
    streams = np.random.SeedSequence(seed).spawn(len(Generators._fields))
    return Generators(*map(np.random.default_rng, streams))
