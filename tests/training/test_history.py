"""What history.csv says, which epoch is kept, and when training stops, with losses and accuracies that are known."""

import math
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from stages.pipeline.errors import PipelineError
from stages.pipeline.history import EpochMetrics, best_epoch, load_history, write_history
from stages.training.schedules import make_schedule
from tests.training.scripted import STEPS, Measured, Scripted, config, numbered_images, on_validation, run, start

DISAGREEING = [  # training is best in epoch 1, validation accuracy in epochs 2 and 4, validation loss in epoch 3
    (Measured(10, 0.99), Measured(3, 0.5)),
    (Measured(6, 0.8), Measured(9, 0.6)),
    (Measured(8, 0.7), Measured(8, 0.95)),
    (Measured(7, 0.6), Measured(9, 0.55)),
    (Measured(5, 0.5), Measured(7, 0.4)),
]
MEASURED = st.builds(Measured, st.sampled_from([3, 8, 9]), st.sampled_from([0.5, 0.7, 0.9]))


@cache
def expected_loss(measured: Measured, labels: tuple[int, ...]) -> float:
    """scikit-learn's."""
    probabilities = np.full((len(labels), 10), (1 - measured.confidence) / 9)
    for index, label in enumerate(labels):
        probabilities[index, label if index < measured.hits else (label + 1) % 10] = measured.confidence
    return float(log_loss(labels, probabilities, labels=range(10)))


def test_every_column_says_what_its_name_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where training and validation disagree on the best epoch, and loss and accuracy do."""
    options = {"epochs": 5, "learning_rate": 0.0123456789}
    outcome = run(Scripted(DISAGREEING), tmp_path / "history.csv", **options)
    rows = pd.read_csv(tmp_path / "history.csv")
    assert list(rows) == [
        "epoch",
        "learning_rate",
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
    ]
    schedule = make_schedule(config(**options), STEPS)
    validation, sample = numbered_images(10, 1).labels, numbered_images(20, 0).labels[::2]
    assert rows["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert rows["learning_rate"].tolist() == [float(f"{schedule(STEPS * epoch - 1):.6g}") for epoch in range(1, 6)]
    for name, labels, column in (("train", sample, 0), ("validation", validation, 1)):
        script = [epoch[column] for epoch in DISAGREEING]
        assert rows[f"{name}_accuracy"].tolist() == [measured.hits / 10 for measured in script]
        losses = [expected_loss(measured, tuple(labels)) for measured in script]
        np.testing.assert_allclose(rows[f"{name}_loss"], losses, atol=1e-6)
        assert all(loss == round(loss, 6) for loss in rows[f"{name}_loss"])
    assert outcome.kept == EpochMetrics(*rows.iloc[1])  # of the two with 90 %, the one with the lower loss
    assert outcome.epochs == 5
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert said == [
        f"epoch {row.epoch}/5: train loss {row.train_loss:.4f} accuracy {row.train_accuracy:.2%}, "
        f"validation loss {row.validation_loss:.4f} accuracy {row.validation_accuracy:.2%}"
        for row in rows.itertuples()
    ]


def test_measures_have_six_decimals(tmp_path: Path) -> None:
    """So few that another processor's rounding does not show, or hardly ever."""
    kept = run(Scripted([(Measured(3), Measured(2))]), tmp_path / "history.csv", validation=7, epochs=1).kept
    assert (kept.train_accuracy, kept.validation_accuracy) == (0.428571, 0.285714)


def expected_outcome(validation: Sequence[Measured], patience: int) -> tuple[int, int]:
    """The kept epoch and the number of epochs, counted from 1, one epoch after the other."""
    labels = tuple(numbered_images(10, 1).labels)
    kept, waited = 0, 0
    for epoch, measured in enumerate(validation):
        best = validation[kept]
        lower = round(expected_loss(measured, labels), 6) < round(expected_loss(best, labels), 6)
        if epoch == 0 or measured.hits > best.hits or (measured.hits == best.hits and lower):
            kept, waited = epoch, 0
        else:
            waited += 1
        if waited == patience > 0:
            return kept + 1, epoch + 1
    return kept + 1, len(validation)


@settings(max_examples=40)
@given(script=st.lists(st.tuples(MEASURED, MEASURED), min_size=1, max_size=8), patience=st.integers(0, 4))
def test_the_kept_epoch_is_the_best_on_validation_and_patience_counts_from_it(
    script: list[tuple[Measured, Measured]], patience: int
) -> None:
    classifier = Scripted(script)
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(classifier, Path(folder, "history.csv"), epochs=len(script), patience=patience)
        history = pd.read_csv(Path(folder, "history.csv"))
    kept, epochs = expected_outcome([validation for _, validation in script], patience)
    assert (outcome.kept.epoch, outcome.epochs) == (kept, epochs)
    assert history["epoch"].tolist() == list(range(1, epochs + 1))
    assert len(classifier.batches) == STEPS * epochs
    assert classifier.weights[0] == STEPS * kept  # its weights are in the classifier


@pytest.mark.parametrize(("patience", "epochs"), [(0, 6), (1, 2), (2, 5), (3, 6)])
def test_training_stops_after_so_many_epochs_that_were_no_better(tmp_path: Path, patience: int, epochs: int) -> None:
    outcome = run(Scripted(on_validation(5, 4, 6, 5, 5, 7)), tmp_path / "history.csv", epochs=6, patience=patience)
    assert outcome.epochs == epochs


def row(epoch: int, accuracy: float, loss: float, train_accuracy: float = 0.5, train_loss: float = 1.0) -> EpochMetrics:
    return EpochMetrics(epoch, 0.1, train_loss, train_accuracy, loss, accuracy)


@pytest.mark.parametrize(
    ("epochs", "best"),
    [
        ([row(1, 0.8, 0.1), row(2, 0.9, 0.5), row(3, 0.85, 0.05)], 2),  # accuracy, and not loss
        ([row(1, 0.9, 0.5), row(2, 0.9, 0.4), row(3, 0.9, 0.45)], 2),  # then the lower loss
        ([row(1, 0.8, 0.4), row(2, 0.9, 0.4), row(3, 0.9, 0.4)], 2),  # then the earlier
        ([row(1, 0.7, 0.5, 0.99, 0.01), row(2, 0.8, 0.5, 0.6, 2.0), row(3, 0.7, 0.5, 0.99, 0.01)], 2),  # not training
        ([row(1, 0.1, 2.3)], 1),
    ],
)
def test_the_best_epoch_is_accuracys_then_the_lower_losss_then_the_earlier(
    epochs: list[EpochMetrics], best: int
) -> None:
    assert best_epoch(epochs).epoch == best


@pytest.mark.parametrize("best", range(1, 6))
def test_resuming_at_every_epoch_keeps_the_best_one_before_and_after(best: int, tmp_path: Path) -> None:
    """Interrupted when the history was written and the checkpoint was not, or when both were."""
    script = on_validation(*(9 if epoch == best else 5 for epoch in range(1, 6)))
    expected = Scripted(script)
    outcome = run(expected, tmp_path / "undisturbed/history.csv", epochs=5)

    class Interrupted(Scripted):
        def train_batch(self, *batch: object) -> float:
            if len(self.batches) == STEPS:
                raise KeyboardInterrupt
            return super().train_batch(*batch)  # type: ignore[arg-type]  # passed on as they are

    history = tmp_path / "history.csv"
    for epoch in range(1, 5):
        interrupted = Interrupted(script)
        with pytest.raises(KeyboardInterrupt):
            start(interrupted, history, epochs=5)
        done = slice(STEPS * (epoch - 1), STEPS * epoch)
        assert interrupted.seen == expected.seen[done]
        assert len(pd.read_csv(history)) == epoch
    resumed = Scripted(script)
    kept, _ = start(resumed, history, epochs=5)
    assert resumed.seen == expected.seen[STEPS * 4 :]
    assert [rate for *_, rate in resumed.batches] == [rate for *_, rate in expected.batches[STEPS * 4 :]]
    assert resumed.weights == expected.weights == STEPS * best
    assert history.read_bytes() == (tmp_path / "undisturbed/history.csv").read_bytes()
    assert (kept.kept, kept.epochs) == (outcome.kept, outcome.epochs)


def test_patience_goes_on_counting_after_an_interruption(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = on_validation(3, 9, 7, 8, 9, 10)
    first = Scripted(script, [1.0] * STEPS * 3 + [math.nan])
    with pytest.raises(PipelineError, match="the loss is nan in epoch 4 at step 1 of 3"):
        start(first, tmp_path / "history.csv", epochs=6, patience=3)
    resumed = Scripted(script)
    run(resumed, tmp_path / "history.csv", epochs=6, patience=3)
    assert len(resumed.batches) == STEPS * 2
    assert resumed.weights == STEPS * 2
    said = capsys.readouterr().out
    assert f"resuming after epoch 3/6, from {tmp_path / 'checkpoint.npz'}\n" in said
    assert "early stopping: no epoch was better than epoch 2 for 3 epochs\n" in said


def test_an_undisturbed_training_neither_resumes_nor_stops_early(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(Scripted(on_validation(5, 4, 3)), tmp_path / "history.csv", epochs=3, patience=2)
    said = capsys.readouterr().out
    assert "resuming" not in said
    assert "early stopping" not in said


def test_the_history_is_there_again_when_all_epochs_were_done_before_the_interruption(tmp_path: Path) -> None:
    history = tmp_path / "history.csv"
    start(Scripted(on_validation(3, 9)), history, epochs=2)
    done = history.read_bytes()
    history.write_text("another run's", encoding="utf-8")
    resumed = Scripted(on_validation(3, 9))
    run(resumed, history, epochs=2)
    assert not resumed.batches
    assert resumed.weights == STEPS * 2
    assert history.read_bytes() == done


class Clock:
    """Seconds that pass only in the classifier: 2 in a training step, 5 in a prediction."""

    now = 100.0

    def perf_counter(self) -> float:
        return self.now


def test_time_and_throughput_count_what_ran_before_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("stages.training.loop.time", clock)

    class Timed(Scripted):
        def train_batch(self, *batch: object) -> float:
            clock.now += 2
            return super().train_batch(*batch)  # type: ignore[arg-type]  # passed on as they are

        def predict(self, *images: object) -> np.ndarray:
            clock.now += 5
            return super().predict(*images)  # type: ignore[arg-type]  # passed on as they are

    script = on_validation(5, 6, 7)
    with pytest.raises(PipelineError):
        start(Timed(script, [1.0] * STEPS * 2 + [math.nan]), tmp_path / "history.csv", epochs=3)
    clock.now += 1000  # the pause is no training
    outcome = run(Timed(script), tmp_path / "history.csv", epochs=3)
    assert outcome.seconds == 3 * (STEPS * 2 + 2 * 5)
    assert outcome.throughput == pytest.approx(3 * 20 / (3 * STEPS * 2))


def test_what_is_written_is_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [EpochMetrics(1, 0.001, 0.5, 0.25, 0.75, 0.125), EpochMetrics(2, 1e-09, 1.5, 0.3, 0.6, 0.9)]
    write_history(Path("plots/torch/history.csv"), rows)
    loaded = load_history("torch")
    assert loaded == rows
    assert isinstance(loaded[0].epoch, int)
    content = Path("plots/torch/history.csv").read_text(encoding="utf-8")
    for damaged in (
        content.splitlines()[0],
        "",
        content.replace("0.75", "nan"),
        content.replace("train_loss", "x"),
        content.replace("0.125", ""),
        content.replace(",0.9", ""),
        content.replace("0.5", "much"),
    ):
        Path("plots/torch/history.csv").write_text(damaged, encoding="utf-8")
        with pytest.raises(PipelineError, match=r"^plots/torch/history.csv: missing or damaged; .* train_torch`$"):
            load_history("torch")
    shutil.rmtree("plots")
    with pytest.raises(PipelineError, match="missing or damaged"):
        load_history("torch")
