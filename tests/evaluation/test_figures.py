"""The figures show what the numbers say."""

import io
import re
from decimal import ROUND_DOWN, Decimal
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import style
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax

from stages import evaluate, plot
from stages.evaluation.calibration import CalibrationBins, expected_calibration_error
from stages.evaluation.figures import curves, mistakes, parity, reliability, weights
from stages.evaluation.figures.style import ENGINE_COLORS, STYLE, engine_colors, to_png
from stages.evaluation.metrics import wilson_interval
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_bytes, write_csv, write_json, write_npy
from stages.pipeline.history import EpochMetrics, load_history

ENGINES = ("torch", "scratch")
MANY = ("torch", "scratch", "zeta", "abacus", "jax", "mlx", "candle", "tinygrad", "burn")
LABELS = np.delete(np.arange(10), 3)[np.random.default_rng(0).integers(9, size=300)]  # class 3 is missing
IMAGES = np.random.default_rng(1).random((300, 28, 28)).astype(np.float32)  # noise, which compresses worst
SIZE_LIMIT = 150_000


def predictions(seed: int, wrong: int) -> NDArray[np.float32]:
    """Probabilities for LABELS of which exactly ``wrong``, at random places, have another most probable class."""
    generator = np.random.default_rng(seed)
    classes = LABELS.copy()
    classes[generator.permutation(300)[:wrong]] += generator.integers(1, 10, wrong)
    logits = generator.normal(size=(300, 10))
    logits[np.arange(300), classes % 10] = logits.max(axis=1) + generator.exponential(2, 300)
    return np.asarray(softmax(logits, axis=1), np.float32)


def random_table(columns: tuple[str, ...], length: int, seed: int = 0) -> pd.DataFrame:
    """A table whose first column counts from 1 and whose others are random, from 0 to 1."""
    others = np.random.default_rng(seed).random((length, len(columns) - 1))
    return pd.DataFrame(np.c_[1 : length + 1, others], columns=columns)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the other stages leave, at its poorest and noisiest: one epoch, a missing class, a network of one layer."""
    monkeypatch.chdir(tmp_path)
    write_npy(Path("data/processed/test_images.npy"), (IMAGES - np.float32(0.13)) / np.float32(0.3))
    write_npy(Path("data/processed/test_labels.npy"), LABELS)
    write_json(Path("data/processed/standardization.json"), {"mean": 0.13, "std": 0.3})
    write_csv(Path("plots/parity.csv"), parity.COLUMNS, random_table(parity.COLUMNS, 300).to_numpy().tolist())
    for engine, wrong in (("torch", 25), ("scratch", 40)):
        write_npy(Path(f"data/predictions/{engine}.npy"), predictions(2, wrong))
        write_csv(Path(f"plots/{engine}/history.csv"), EpochMetrics._fields, [(1, 0.001, 2.0, 0.5, 2.1, 0.4)])
        write_npy(Path(f"data/filters/{engine}.npy"), np.eye(wrong, 784, dtype=np.float32).reshape(wrong, 28, 28))
    return tmp_path


def test_the_stage_leaves_its_figures_alone_and_small_whatever_matplotlibrc_says(results: Path) -> None:
    folder = results / "plots/images"
    write_bytes(folder / "old.png", b"of an earlier version")
    with matplotlib.rc_context({"font.size": 20, "axes.grid": True}):  # somebody's matplotlibrc
        plot.main()
    contents = {path.stem: path.read_bytes() for path in folder.iterdir()}
    assert set(contents) == {"curves", "mistakes", "parity", "reliability", "weights"}
    with style.context(STYLE):
        histories = {engine: pd.DataFrame(load_history(engine)) for engine in ENGINES}
        assert to_png(curves.draw(histories)) == contents["curves"]
    for name, content in contents.items():
        assert len(content) < SIZE_LIMIT, name
        with Image.open(io.BytesIO(content)) as image:
            assert image.width == 1440
            assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
            colors = np.array([color for _, color in image.convert("RGB").getcolors(256) or []])
        for engine, rgb in ENGINE_COLORS.items():
            expected = [int(rgb[place : place + 2], 16) for place in (1, 3, 5)]
            is_shown = np.abs(colors - expected).max(axis=1).min() < 12
            # The weights have a scale of their own, and in parity torch is pale.
            assert is_shown or name == "weights" or (name, engine) == ("parity", "torch"), f"{name} lacks {rgb}"


@pytest.mark.parametrize(
    "name", ["data/predictions/torch.npy", "data/filters/scratch.npy", "plots/scratch/history.csv", "plots/parity.csv"]
)
def test_a_missing_file_is_named(results: Path, name: str) -> None:
    (results / name).unlink()
    with pytest.raises(PipelineError, match=f"^{name}: missing"):
        plot.draw_all()


def test_a_table_without_a_column_or_without_rows_is_refused(results: Path) -> None:
    for content in ("step,torch_float32\n1,2\n", ",".join(parity.COLUMNS) + "\n"):
        (results / "plots/parity.csv").write_text(content)
        with pytest.raises(PipelineError, match="make it again with `dvc repro --force --single-item parity`"):
            plot.draw_all()


def test_predictions_of_another_test_split_are_refused(results: Path) -> None:
    write_npy(results / "data/predictions/scratch.npy", predictions(0, 5)[:200])
    with pytest.raises(PipelineError, match=r"scratch\.npy: expected shape \(300, 10\), found \(200, 10\)"):
        plot.draw_all()


@pytest.mark.parametrize("epochs", [1, 5])
def test_curves_show_the_history_at_whole_epochs_and_ring_the_kept_one(epochs: int) -> None:
    histories = {engine: random_table(EpochMetrics._fields, epochs, seed) for seed, engine in enumerate(ENGINES)}
    figure = curves.draw(histories)
    axes = {axis.get_title(): axis for axis in figure.axes}
    assert list(axes) == ["Loss", "Accuracy", "Learning rate"]
    for engine, history in histories.items():
        best = int(history["validation_accuracy"].argmax())
        for measure in ("loss", "accuracy"):
            lines = [line for line in axes[measure.capitalize()].lines if line.get_color() == ENGINE_COLORS[engine]]
            dashed, solid, ring = lines
            assert (dashed.get_linestyle(), solid.get_linestyle()) == ("--", "-")
            np.testing.assert_array_equal(dashed.get_ydata(), history[f"train_{measure}"])
            np.testing.assert_array_equal(solid.get_ydata(), history[f"validation_{measure}"])
            kept = [[history["epoch"][best], history[f"validation_{measure}"][best]]]
            np.testing.assert_array_equal(ring.get_xydata(), kept)
    for axis in figure.axes:
        assert [tick for tick in axis.get_xticks() if 1 <= tick <= epochs] == list(range(1, epochs + 1))
        assert not np.any(axis.get_xticks() % 1)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["torch", "scratch", "training", "validation", "kept epoch"]


def test_equal_learning_rates_are_one_gray_line_and_others_have_their_engines_colors() -> None:
    first, other = random_table(EpochMetrics._fields, 4, 0), random_table(EpochMetrics._fields, 4, 1)
    histories = {"torch": first, "scratch": other, "zeta": first.assign(train_loss=0.5)}
    *_, axis = curves.draw(histories).axes
    assert axis.get_title() == "Learning rate, the same for torch and zeta"
    shared, own = axis.lines
    np.testing.assert_array_equal(shared.get_ydata(), first["learning_rate"])
    np.testing.assert_array_equal(own.get_ydata(), other["learning_rate"])
    assert own.get_color() == ENGINE_COLORS["scratch"]
    assert shared.get_color() not in engine_colors(histories).values()


@pytest.mark.parametrize(
    ("accuracies", "losses", "kept"),
    [([0.9, 0.8], [0.5, 0.1], 1), ([0.8, 0.9, 0.9], [0.1, 0.3, 0.2], 3), ([0.9, 0.9, 0.8], [0.2, 0.2, 0.1], 1)],
)
def test_the_kept_epoch_is_the_one_that_training_keeps(accuracies: list[float], losses: list[float], kept: int) -> None:
    measured = enumerate(zip(losses, accuracies, strict=True), 1)
    history = pd.DataFrame([EpochMetrics(epoch, 0.1, 1.0, 0.5, *both) for epoch, both in measured])
    assert curves.kept_epoch(history)["epoch"].tolist() == [kept]


def test_parity_shows_both_losses_and_their_relative_differences_zeros_included() -> None:
    table = pd.DataFrame(
        [[1, 2.0, 2.0, 2.0, 2.0 + 4e-15], [2, 1.0, 1.5, 1.0, 1.0], [3, 0.5, 0.25, 4.0, 1.0]], columns=parity.COLUMNS
    )
    losses, differences = parity.draw(table).axes
    torch, scratch = losses.lines
    assert [line.get_color() for line in losses.lines] == [ENGINE_COLORS[engine] for engine in ENGINES]
    assert torch.get_linewidth() > 2 * scratch.get_linewidth()  # and below, so that both show
    np.testing.assert_array_equal(torch.get_ydata(), table["torch_float32"])
    np.testing.assert_array_equal(scratch.get_ydata(), table["scratch_float32"])
    lines = {str(line.get_label()): np.asarray(line.get_ydata()) for line in differences.lines}
    np.testing.assert_allclose(lines["float32"], [parity.FLOOR, 0.5, 0.5])
    np.testing.assert_allclose(lines["float64"], [2e-15, parity.FLOOR, 0.75], rtol=0.2)
    assert lines["machine epsilon of float32"].tolist() == [2**-23, 2**-23]
    assert lines["machine epsilon of float64"].tolist() == [2**-52, 2**-52]
    assert differences.get_yscale() == "log"
    ticks = {
        label.get_text(): tick
        for label, tick in zip(differences.get_yticklabels(), differences.get_yticks(), strict=True)
    }
    assert ticks["0"] == parity.FLOOR > differences.get_ylim()[0]


def rounded_down(probability: np.float32) -> str:
    """As percent with two decimals."""
    return str(Decimal(float(probability) * 100).quantize(Decimal("0.01"), ROUND_DOWN)) + "%"


def test_a_confidence_below_certainty_is_not_shown_as_certainty() -> None:
    probabilities = np.eye(10, dtype=np.float32)[[0, 1]]
    probabilities[0] = [0.99999, *[1e-5] * 9]
    axis, *_ = mistakes.draw(IMAGES[:2], np.array([5, 5]), {"torch": probabilities}).axes
    assert [text.get_text() for text in axis.texts] == ["label 5", "torch 1, 100.00%", "label 5", "torch 0, 99.99%"]


@pytest.mark.parametrize(("torch_wrong", "scratch_wrong"), [(40, 60), (0, 5), (20, 19)])
def test_the_mistakes_shown_are_the_most_confident_with_predictions_and_confidence_of_both(
    torch_wrong: int, scratch_wrong: int
) -> None:
    probabilities = {"torch": predictions(5, torch_wrong), "scratch": predictions(5, scratch_wrong)}
    probabilities["scratch"][::2] = probabilities["scratch"][::2] ** 2  # so that the orders differ; classes do not
    predicted = {engine: each.argmax(axis=1) for engine, each in probabilities.items()}
    figure = mistakes.draw(IMAGES, LABELS, probabilities)
    for axis, (engine, wrong) in zip(
        figure.axes, {"torch": torch_wrong, "scratch": scratch_wrong}.items(), strict=True
    ):
        confidence = probabilities[engine].max(axis=1)
        mistaken = [index for index in range(300) if predicted[engine][index] != LABELS[index]]
        expected = sorted(mistaken, key=lambda index: (-confidence[index], index))[:16]
        assert axis.get_title() == f"{engine}: {min(wrong, 16)} of {wrong} mistakes"
        captions = [(text.get_text(), text.get_color()) for text in axis.texts]
        for place, (image, frame, index) in enumerate(zip(axis.images, axis.patches, expected, strict=True)):
            np.testing.assert_array_equal(np.asarray(image.get_array()), IMAGES[index])
            assert captions[3 * place : 3 * place + 3] == [
                (f"label {LABELS[index]}", "black"),
                *(
                    (f"{name} {each[index]}, {rounded_down(probabilities[name][index].max())}", ENGINE_COLORS[name])
                    for name, each in predicted.items()
                ),
            ]
            both_wrong = all(each[index] != LABELS[index] for each in predicted.values())
            assert (frame.get_linewidth() > 1) == both_wrong


@pytest.mark.usefixtures("results")
def test_the_images_are_shown_as_they_were_before_standardization(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr(mistakes, "draw", lambda images, *_: shown.append(images))
    plot.draw_all()
    np.testing.assert_allclose(shown[0], IMAGES, atol=1e-6)


def test_reliability_shows_bins_of_enough_images_each_and_the_calibration_error() -> None:
    probabilities = {"torch": predictions(6, 30), "scratch": predictions(7, 90)}
    figure = reliability.draw(probabilities, LABELS)
    assert f"adaptive bins of at least {reliability.MIN_COUNT} images" in figure.get_suptitle()
    for column, (engine, each) in enumerate(probabilities.items()):
        above, below = figure.axes[column], figure.axes[column + 2]
        bars = [bar for bar in below.patches if isinstance(bar, Rectangle)]
        edges = [bar.get_x() for bar in bars] + [1.0]
        np.testing.assert_allclose(np.array(edges) * 15, np.rint(np.array(edges) * 15))  # merged from 15 equal bins
        confidence, correct = each.max(axis=1), each.argmax(axis=1) == LABELS
        points = next(line for line in above.lines if str(line.get_label()).startswith(engine))
        positions, intervals = np.asarray(points.get_xydata()), []
        assert len(bars) == len(positions) > 1
        for bar, low, high, point in zip(bars, edges[:-1], edges[1:], positions, strict=True):
            inside = (low < confidence) & (confidence <= high)
            assert bar.get_height() == inside.sum() >= reliability.MIN_COUNT
            np.testing.assert_allclose(point, [confidence[inside].mean(), correct[inside].mean()])
            intervals.append(wilson_interval(int(correct[inside].sum()), int(inside.sum())))
        [bars_of_intervals] = [each for each in above.collections if isinstance(each, LineCollection)]
        np.testing.assert_allclose([segment[:, 1] for segment in bars_of_intervals.get_segments()], intervals)
        error = expected_calibration_error(each, LABELS)
        assert points.get_label() == f"{engine}: expected calibration error {error:.2%}"
        assert below.get_yscale() == "log"


@pytest.mark.parametrize("counts", [[0, 0, 30], [60, 0, 0, 20], [49, 1, 0, 60, 10], [0, 100, 0, 50]])
def test_merging_bins_loses_no_image_and_leaves_no_small_bin(counts: list[int]) -> None:
    size = np.array(counts)
    edges, bins = reliability.merge_bins(CalibrationBins(size, np.full(len(size), 0.5), np.full(len(size), 0.25)))
    assert bins.counts.sum() == size.sum()
    assert len(bins.counts) == 1 or min(bins.counts) >= reliability.MIN_COUNT
    assert (edges[0], edges[-1], len(edges)) == (0, 1, len(bins.counts) + 1)
    assert (set(bins.confidence), set(bins.accuracy)) == ({0.5}, {0.25})


@pytest.mark.parametrize(
    ("shape", "squares", "rows", "side"),
    [
        ((100, 784), 32, 2, 28),
        ((32, 784), 32, 2, 28),
        ((10, 784), 10, 1, 28),
        ((17, 784), 17, 2, 28),
        ((8, 1, 5, 5), 8, 1, 5),
    ],
)
def test_weights_show_the_largest_units_on_a_scale_around_zero(
    shape: tuple[int, ...], squares: int, rows: int, side: int
) -> None:
    weight = np.random.default_rng(0).normal(size=shape)
    weight[3] *= 5
    filters = evaluate.first_filters({"1.bias": np.full(shape[0], 9.0), "1.weight": weight, "3.weight": np.eye(9)})
    axis = weights.draw(dict.fromkeys(ENGINES, filters)).axes[0]
    chosen = f"the 32 units of {shape[0]} with the largest norm" if shape[0] > 32 else f"all {shape[0]} units"
    assert axis.get_title().startswith(f"torch: {chosen}")
    image = axis.images[0]
    shown = np.asarray(image.get_array())
    columns = min(squares, 16)
    assert shown.shape == (rows * (side + 1) - 1, columns * (side + 1) - 1)
    np.testing.assert_array_equal(shown[:side, :side], weight[3].reshape(side, side))
    norms = [
        np.linalg.norm(shown[row : row + side, column : column + side])
        for row in range(0, shown.shape[0], side + 1)
        for column in range(0, shown.shape[1], side + 1)
    ]
    expected = sorted(np.linalg.norm(weight.reshape(shape[0], -1), axis=1), reverse=True)[:squares]
    np.testing.assert_allclose(norms[:squares], expected)
    assert np.isnan(norms[squares:]).all()
    assert image.get_clim() == (-np.nanmax(np.abs(shown)), np.nanmax(np.abs(shown)))


def test_further_engines_get_further_colors() -> None:
    colors = engine_colors(MANY)
    assert {engine: colors[engine] for engine in ENGINE_COLORS} == ENGINE_COLORS
    assert len(set(colors.values())) == 7  # of nine: then they come again
    assert len(set(engine_colors(MANY[:7]).values())) == 7


@pytest.mark.parametrize("number", [1, 5])
def test_every_figure_shows_any_number_of_engines(number: int) -> None:
    engines = MANY[:number]
    probabilities = {engine: predictions(seed, 30 * seed) for seed, engine in enumerate(engines)}
    figures = [
        curves.draw({engine: random_table(EpochMetrics._fields, 2) for engine in engines}),
        mistakes.draw(IMAGES, LABELS, probabilities),
        reliability.draw(probabilities, LABELS),
        weights.draw({engine: np.eye(20, 784, dtype=np.float32).reshape(20, 28, 28) for engine in engines}),
    ]
    for figure in figures:
        texts = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
        for engine in engines:
            assert any(re.match(rf"\s*{engine}\b", text) for text in texts), engine
