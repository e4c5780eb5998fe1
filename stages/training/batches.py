"""The batches of an epoch."""

import math
from collections.abc import Iterator

import numpy as np

from stages.pipeline.splits import Split


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Number of batches in an epoch; the last one may be smaller."""
    return math.ceil(len(split.labels) / batch_size)


def shuffled_batches(split: Split, batch_size: int, generator: np.random.Generator) -> Iterator[Split]:
    """Yield every example of the split once, in random order, in batches; the last one holds what is left."""
    order = generator.permutation(len(split.labels))
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        yield Split(split.images[indices], split.labels[indices])
