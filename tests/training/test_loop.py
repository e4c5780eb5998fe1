"""The loop: which batches are seen at which rates, what is measured, and what happens when the loss diverges."""

import math
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.engines.scratch_engine import ScratchClassifier
from stages.engines.torch_engine import TorchClassifier
from stages.pipeline.classifier import Images, Labels, Probabilities
from stages.pipeline.errors import PipelineError
from stages.pipeline.rng import spawn_generators
from stages.pipeline.splits import Split
from stages.training.augmentation import Augmentation
from stages.training.batches import shuffled_batches, steps_per_epoch
from stages.training.loop import _check_batch_norm, _subsample
from stages.training.schedules import make_schedule
from tests.training.scripted import BATCH, STEPS, TRAINING, Scripted, config, numbered_images, on_validation, run, start


def test_each_epoch_sees_every_image_once_in_a_new_order_at_the_scheduled_rate(tmp_path: Path) -> None:
    classifier = Scripted(on_validation(5, 5, 5, 5))
    run(classifier, tmp_path / "history.csv", epochs=4)
    assert [len(numbers) for numbers in classifier.seen] == [8, 8, 4] * 4
    orders = [list(chain(*classifier.seen[3 * epoch : 3 * epoch + 3])) for epoch in range(4)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    schedule = make_schedule(config(epochs=4), 3)
    assert [rate for *_, rate in classifier.batches] == [schedule(step) for step in range(12)]


@pytest.mark.parametrize("augmented_epochs", [0, 1, 2])
def test_batches_are_what_shuffling_and_augmentation_draw_each_from_its_own_generator(
    tmp_path: Path, augmented_epochs: int
) -> None:
    """Labels stay with their images, and augmentation leaves the order as it is. Outside lies the darkest pixel."""
    classifier = Scripted(on_validation(5, 5))
    options = {"enabled": True, "no_aug_epochs": 2 - augmented_epochs} if augmented_epochs else {}
    run(classifier, tmp_path / "history.csv", 3, epochs=2, **options)
    images, labels = numbered_images(TRAINING, 0)
    generators, distort = spawn_generators(3), Augmentation(config().augmentation, 0.0)
    expected = []
    for _ in range(2):
        order = generators.shuffling.permutation(TRAINING)
        expected += [order[first : first + BATCH] for first in range(0, TRAINING, BATCH)]
    augmented = STEPS * augmented_epochs
    for step, ((seen, seen_labels, _), numbers) in enumerate(zip(classifier.batches, expected, strict=True)):
        np.testing.assert_array_equal(seen_labels, labels[numbers])
        batch = images[numbers]
        np.testing.assert_array_equal(seen, distort(batch, generators.augmentation) if step < augmented else batch)


def test_beyond_the_edge_of_a_distorted_image_lies_the_darkest_pixel_of_the_training_images(tmp_path: Path) -> None:
    classifier = Scripted(on_validation(5))
    run(classifier, tmp_path / "history.csv", epochs=1, enabled=True, background=-0.4, shift=20.0)
    assert all(seen.min() == np.float32(-0.4) for seen, *_ in classifier.batches)
    assert np.median(np.concatenate([seen for seen, *_ in classifier.batches])) == np.float32(-0.4)


def test_the_seed_decides_the_order(tmp_path: Path) -> None:
    first, same, other = (Scripted(on_validation(5)) for _ in range(3))
    for classifier, seed in ((first, 1), (same, 1), (other, 2)):
        run(classifier, tmp_path / "history.csv", seed, epochs=1)
    assert first.seen == same.seen != other.seen


@pytest.mark.parametrize(
    ("validation", "measured"),
    [(10, range(0, 20, 2)), (13, [0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16, 18]), (30, range(20))],
)
def test_measured_are_undistorted_images_spread_over_the_training_split_and_all_of_validation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], validation: int, measured: list[int]
) -> None:
    classifier = Scripted(on_validation(5))
    run(classifier, tmp_path / "history.csv", validation=validation, epochs=1, enabled=True)
    for seen, split, numbers in zip(classifier.predicted, (0, 1), (measured, range(validation)), strict=True):
        whole = numbered_images(max(TRAINING, validation), split).images
        np.testing.assert_array_equal(seen, whole[list(numbers)])
    said = capsys.readouterr().out.splitlines()[0]
    assert said == (
        f"training on 20 images, validating on {validation}; "
        f"train loss and accuracy are measured on {len(measured)} of the training images"
    )


@pytest.mark.parametrize(
    ("count", "size"), [(55_000, 5000), (9000, 5000), (1001, 1000), (5000, 5000), (20, 5000), (7, 1)]
)
def test_a_subsample_is_evenly_spaced_over_the_whole_split(count: int, size: int) -> None:
    numbers = _subsample(Split(np.empty((count, 0)), np.arange(count)), size).labels
    assert len(numbers) == min(count, size)
    np.testing.assert_allclose(numbers, np.arange(len(numbers)) * max(count / size, 1), atol=1)
    assert numbers[0] == 0
    assert set(np.diff(numbers)) <= {math.floor(max(count / size, 1)), math.ceil(count / size)}
    if count == 55_000:  # as the committed results were measured
        assert numbers.tolist() == list(range(0, count, 11))


@given(count=st.integers(1, 50), batch_size=st.integers(1, 60))
def test_the_steps_of_an_epoch_are_its_batches(count: int, batch_size: int) -> None:
    split = numbered_images(count, 0)
    batches = list(shuffled_batches(split, batch_size, np.random.default_rng(0)))
    assert steps_per_epoch(split, batch_size) == len(batches)
    assert [len(batch.labels) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    numbers = np.concatenate([batch.images[:, 0, 1] for batch in batches]).astype(int)
    assert sorted(numbers) == list(range(count))
    np.testing.assert_array_equal(np.concatenate([batch.labels for batch in batches]), split.labels[numbers])


@given(
    count=st.integers(1, 30),
    batch_size=st.integers(1, 31),
    batch_norm=st.booleans(),
    hidden_sizes=st.sampled_from([[], [4]]),
)
def test_batch_norm_of_hidden_layers_refuses_what_leaves_a_batch_of_one_image(
    count: int, batch_size: int, batch_norm: bool, hidden_sizes: list[int]
) -> None:
    """A channel of a convolution has many values per image, so [] is fine."""
    split = numbered_images(count, 0)
    given_config = config(batch_norm=batch_norm, hidden_sizes=hidden_sizes, channels=[2], batch_size=batch_size)
    lone = any(len(batch.labels) == 1 for batch in shuffled_batches(split, batch_size, np.random.default_rng(0)))
    if batch_norm and hidden_sizes and lone:
        with pytest.raises(PipelineError, match=f"and with batch_size {batch_size}, the last of {count} images is"):
            _check_batch_norm(split, given_config)
    else:
        _check_batch_norm(split, given_config)


@pytest.mark.parametrize("engine", [ScratchClassifier, TorchClassifier])
@pytest.mark.parametrize("hidden_sizes", [[], [4]])
@pytest.mark.parametrize("blocks", range(5))
def test_refused_is_exactly_what_an_engine_cannot_train_on(
    engine: type[ScratchClassifier] | type[TorchClassifier], hidden_sizes: list[int], blocks: int
) -> None:
    """Four blocks end in feature maps of 1x1, with one value per channel and image, as a hidden layer's unit has."""
    network = {"channels": [2] * blocks, "kernel_size": 3, "padding": 1, "hidden_sizes": hidden_sizes}
    given_config = config(batch_norm=True, batch_size=1, **network)
    classifier = engine(given_config, spawn_generators(0))
    split = numbered_images(1, 0)
    if hidden_sizes or blocks == 4:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            classifier.train_batch(split.images, split.labels, 0.1)
        with pytest.raises(PipelineError, match="batch_norm cannot train on a batch of one image"):
            _check_batch_norm(split, given_config)
    else:
        classifier.train_batch(split.images, split.labels, 0.1)
        _check_batch_norm(split, given_config)


def test_a_batch_of_one_is_refused_before_training(tmp_path: Path) -> None:
    classifier = Scripted(on_validation(5))
    with pytest.raises(PipelineError, match="batch_norm cannot train on a batch of one image"):
        run(classifier, tmp_path / "history.csv", epochs=1, batch_norm=True, batch_size=19)
    assert not classifier.batches


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_at_once_and_says_where(tmp_path: Path, loss: float) -> None:
    classifier = Scripted(on_validation(5, 5, 5), [1.0] * 4 + [loss])
    schedule = make_schedule(config(epochs=3), STEPS)
    with pytest.raises(PipelineError) as caught:
        run(classifier, tmp_path / "history.csv", epochs=3)
    assert str(caught.value) == (
        f"the loss is {loss} in epoch 2 at step 2 of 3, with learning rate {schedule(4):.3g}: training diverged and no "
        "new model was saved; lower learning_rate, or raise warmup_fraction"
    )
    assert len(classifier.batches) == 5
    assert len(pd.read_csv(tmp_path / "history.csv")) == 1


@pytest.mark.parametrize("split", [0, 1])
def test_an_epoch_after_which_a_loss_is_not_finite_is_not_recorded(tmp_path: Path, split: int) -> None:
    """On either split: history.csv never holds what the next stages would refuse."""

    class Diverged(Scripted):
        def predict(self, images: Images) -> Probabilities:
            probabilities = super().predict(images)
            if images[0, 0, 2] == split and self.weights[0] == 2 * STEPS:
                probabilities[0] = np.nan
            return probabilities

    schedule = make_schedule(config(epochs=3), STEPS)
    rate = float(f"{schedule(5):.6g}")
    with pytest.raises(PipelineError, match=f"the loss is nan in epoch 2 at its end, with learning rate {rate:.3g}:"):
        start(Diverged(on_validation(5, 5, 5)), tmp_path / "history.csv", epochs=3)
    assert len(pd.read_csv(tmp_path / "history.csv")) == 1
    resumed = Scripted(on_validation(5, 5, 5))
    run(resumed, tmp_path / "history.csv", epochs=3)
    assert len(resumed.batches) == 2 * STEPS


def test_an_overflow_ends_training_in_words_and_without_a_warning_of_numpys(tmp_path: Path) -> None:
    class Overflowing(Scripted):
        def train_batch(self, images: Images, labels: Labels, learning_rate: float) -> float:
            super().train_batch(images, labels, learning_rate)
            return float(np.float32(3e38) * np.float32(len(labels)) - np.float32(3e38) * np.float32(10))

    with pytest.raises(PipelineError, match="training diverged"):
        run(Overflowing(on_validation(5)), tmp_path / "history.csv", epochs=1)


def test_what_overflows_in_evaluation_does_not_warn_either(tmp_path: Path) -> None:
    class Overflowing(Scripted):
        def predict(self, images: Images) -> Probabilities:
            probabilities: Any = super().predict(images) * (np.float32(3e38) * np.float32(10)) * np.float32(0)
            return probabilities  # type: ignore[no-any-return]  # NumPy's product of what is annotated

    with pytest.raises(PipelineError, match="the loss is nan in epoch 1 at its end"):
        run(Overflowing(on_validation(5)), tmp_path / "history.csv", epochs=1)
