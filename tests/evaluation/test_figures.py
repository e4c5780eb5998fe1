"""The pictures show what the numbers say, and DVC's templates fit them."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
import vl_convert
import yaml
from dvc_render import VegaRenderer  # type: ignore[import-untyped]  # ships no types
from matplotlib import style
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax

from stages import plot
from stages.engines.scratch_engine import ScratchClassifier
from stages.engines.torch_engine import TorchClassifier
from stages.evaluation.confusion import SCORE_COLUMNS, confusion_counts
from stages.evaluation.figures import accuracy_by_class, confusion, curves, mistakes, reliability, weights
from stages.evaluation.figures.style import ENGINE_COLOURS, STYLE, engine_colours, to_png
from stages.evaluation.statistics import calibration_bins, calibration_error, wilson_interval
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_bytes, write_csv, write_json, write_npy
from stages.training.loop import Epoch
from tests.imports import ROOT

ENGINES = ("torch", "scratch")
NAMES = {"curves", "confusion", "accuracy_by_class", "mistakes", "reliability", "weights"}
MISSING_CLASS = 3
LABELS = np.delete(np.arange(10), MISSING_CLASS)[np.random.default_rng(0).integers(9, size=300)]
IMAGES = np.random.default_rng(1).random((300, 28, 28)).astype(np.float32)
SIZE_LIMIT = 150_000


def predictions(seed: int, wrong: int) -> NDArray[np.float32]:
    """Probabilities for LABELS of which exactly ``wrong``, at random places, have another most probable class."""
    generator = np.random.default_rng(seed)
    answers = LABELS.copy()
    answers[generator.permutation(300)[:wrong]] += generator.integers(1, 10, wrong)
    logits = generator.normal(size=(300, 10))
    logits[np.arange(300), answers % 10] = logits.max(axis=1) + generator.exponential(2, 300)
    return np.asarray(softmax(logits, axis=1), np.float32)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the other stages leave, at its poorest: one epoch, a missing class, no mistake, a network of one layer."""
    monkeypatch.chdir(tmp_path)
    write_npy(Path("data/processed/test_images.npy"), (IMAGES - np.float32(0.13)) / np.float32(0.3))
    write_npy(Path("data/processed/test_labels.npy"), LABELS)
    write_json(Path("data/processed/standardisation.json"), {"mean": 0.13, "std": 0.3})
    for engine, wrong in (("torch", 0), ("scratch", 5)):
        write_npy(Path(f"data/predictions/{engine}.npy"), predictions(2, wrong))
        write_csv(Path(f"plots/{engine}/history.csv"), Epoch._fields, [Epoch(1, 0.001, 2.0, 0.5, 2.1, 0.4)])
    write_bytes(Path("models/torch/mnist_model.pth"), TorchClassifier([16], np.random.default_rng(3)).to_bytes())
    write_bytes(Path("models/scratch/model.npz"), ScratchClassifier([], np.random.default_rng(4)).to_bytes())
    return tmp_path


def test_the_stage_leaves_its_pictures_alone_the_same_every_time(results: Path) -> None:
    folder = results / "plots/images"
    write_bytes(folder / "old.png", b"of an earlier version")
    with matplotlib.rc_context({"font.size": 20, "axes.grid": True}):  # somebody's matplotlibrc
        plot.main()
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    plot.main()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    assert set(first) == {f"{name}.png" for name in NAMES}
    for name, content in first.items():
        assert len(content) < SIZE_LIMIT, name
        with Image.open(folder / name) as picture:
            picture.load()
            assert picture.width == 1440
            assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
            colours = {colour for _, colour in picture.convert("RGB").getcolors(256) or []}
        if name not in ("confusion.png", "weights.png"):  # which show the engines side by side
            for rgb in ENGINE_COLOURS.values():
                expected = np.array([int(rgb[place : place + 2], 16) for place in (1, 3, 5)])
                assert min(np.abs(expected - colour).max() for colour in colours) < 12, f"{name} lacks {rgb}"


def test_noise_which_compresses_worst_stays_small() -> None:
    filters = {engine: {"1.weight": np.random.default_rng(0).normal(size=(64, 784))} for engine in ENGINES}
    with style.context(STYLE):
        probabilities = {engine: predictions(seed, 60) for seed, engine in enumerate(ENGINES)}
        assert len(to_png(mistakes.draw(IMAGES, LABELS, probabilities))) < SIZE_LIMIT
        assert len(to_png(weights.draw(filters))) < SIZE_LIMIT


@pytest.mark.parametrize("name", ["data/predictions/torch.npy", "plots/scratch/history.csv"])
def test_a_missing_file_is_named(results: Path, name: str) -> None:
    (results / name).unlink()
    with pytest.raises(PipelineError, match=f"^{name}: missing"):
        plot.main()


def test_predictions_of_another_test_split_are_refused(results: Path) -> None:
    write_npy(results / "data/predictions/scratch.npy", predictions(0, 5)[:200])
    with pytest.raises(PipelineError, match=r"scratch\.npy: expected shape \(300, 10\), found \(200, 10\)"):
        plot.main()


@pytest.mark.parametrize("epochs", [1, 5])
def test_curves_show_the_history_at_whole_epochs_and_ring_the_kept_one(epochs: int) -> None:
    generator = np.random.default_rng(0)
    histories = {
        engine: pd.DataFrame(
            {"epoch": range(1, epochs + 1), **{name: generator.random(epochs) for name in Epoch._fields[1:]}}
        )
        for engine in ENGINES
    }
    figure = curves.draw(histories)
    axes = {axis.get_title(): axis for axis in figure.axes}
    for engine, history in histories.items():
        best = int(history["validation_accuracy"].argmax())
        for measure in ("loss", "accuracy"):
            lines = [line for line in axes[measure.capitalize()].lines if line.get_color() == ENGINE_COLOURS[engine]]
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


@pytest.mark.parametrize(
    ("accuracies", "losses", "kept"),
    [([0.9, 0.8], [0.5, 0.1], 1), ([0.8, 0.9, 0.9], [0.1, 0.3, 0.2], 3), ([0.9, 0.9, 0.8], [0.2, 0.2, 0.1], 1)],
)
def test_the_kept_epoch_is_the_one_that_training_keeps(accuracies: list[float], losses: list[float], kept: int) -> None:
    epochs = range(1, len(losses) + 1)
    history = pd.DataFrame({"epoch": epochs, "validation_accuracy": accuracies, "validation_loss": losses})
    assert curves.kept_epoch(history)["epoch"].tolist() == [kept]


def test_every_count_stands_in_its_cell_and_errors_are_shaded_by_their_share() -> None:
    counts = {engine: np.random.default_rng(seed).integers(0, 30, (10, 10)) for seed, engine in enumerate(ENGINES)}
    for matrix in counts.values():
        np.fill_diagonal(matrix, 900)
        matrix[MISSING_CLASS] = 0
    figure = confusion.draw(counts)
    for axis, (engine, matrix) in zip(figure.axes, counts.items(), strict=False):
        written = {text.get_position(): text.get_text() for text in axis.texts}
        assert written == {(column, row): str(matrix[row, column]) for row, column in np.ndindex(10, 10)}
        assert (axis.get_xlabel(), axis.get_title()) == (
            "predicted",
            f"{engine}: {matrix.sum() - matrix.trace():,} of {matrix.sum():,} wrong",
        )
        shades = axis.images[0].get_array()
        assert isinstance(shades, np.ma.MaskedArray)
        assert np.array_equal(np.ma.getmaskarray(shades), np.eye(10, dtype=bool))
        assert shades[0, 7] == pytest.approx(matrix[0, 7] / matrix[0].sum())
        assert not shades[MISSING_CLASS].any()
    assert figure.axes[0].get_ylabel() == "actual"
    assert figure.axes[0].images[0].norm is figure.axes[1].images[0].norm


def test_accuracy_by_class_leaves_out_the_missing_class() -> None:
    matrix = np.full((10, 10), 1) + 90 * np.eye(10, dtype=int)
    matrix[7, 7] = 51
    matrix[MISSING_CLASS] = 0
    figure = accuracy_by_class.draw(dict.fromkeys(ENGINES, matrix))
    (axis,) = figure.axes
    points = [line for line in axis.lines if line.get_label() in ENGINES]
    assert len(points) == 2
    present = np.delete(np.arange(11), MISSING_CLASS)
    correct, totals = [91] * 6 + [51, 91, 91, 779], [100] * 6 + [60, 100, 100, 860]
    intervals = [wilson_interval(*pair) for pair in zip(correct, totals, strict=True)]
    for line, bars in zip(points, axis.collections, strict=True):
        shown = np.asarray(line.get_xydata())
        np.testing.assert_array_equal(np.rint(shown[:, 0]), present)
        np.testing.assert_allclose(shown[:, 1], np.divide(correct, totals))
        assert isinstance(bars, LineCollection)
        np.testing.assert_array_equal([np.asarray(bar)[:, 1] for bar in bars.get_segments()], intervals)
    labels = [label.get_text() for label in axis.get_xticklabels()]
    assert (labels[MISSING_CLASS], labels[7], labels[10]) == ("3\n0", "7\n60", "all\n860")


def most_confident_mistakes(probabilities: NDArray[np.float32]) -> list[int]:
    wrong = [index for index in range(300) if probabilities[index].argmax() != LABELS[index]]
    return sorted(wrong, key=lambda index: (-probabilities[index].max(), index))


@pytest.mark.parametrize(("torch_wrong", "scratch_wrong"), [(40, 60), (0, 5), (20, 19)])
def test_the_mistakes_shown_are_the_most_confident_with_both_answers(torch_wrong: int, scratch_wrong: int) -> None:
    probabilities = {"torch": predictions(5, torch_wrong), "scratch": predictions(5, scratch_wrong)}
    probabilities["scratch"][::2] = probabilities["scratch"][::2] ** 2  # so that the orders differ; classes do not
    answers = {engine: each.argmax(axis=1) for engine, each in probabilities.items()}
    figure = mistakes.draw(IMAGES, LABELS, probabilities)
    for part, (engine, wrong) in zip(
        figure.subfigs, {"torch": torch_wrong, "scratch": scratch_wrong}.items(), strict=True
    ):
        expected = most_confident_mistakes(probabilities[engine])[:20]
        assert part.get_suptitle() == f"{engine}: {min(wrong, 20)} of {wrong} mistakes"
        shown = [axis for axis in part.axes if axis.images]
        assert len(shown) == len(expected) == min(wrong, 20)
        assert not any(axis.axison for axis in part.axes if not axis.images)
        for axis, index in zip(shown, expected, strict=True):
            np.testing.assert_array_equal(np.asarray(axis.images[0].get_array()), IMAGES[index])
            assert axis.get_title() == f"is {LABELS[index]}"
            captions = {text.get_color(): text.get_text().strip() for text in axis.texts}
            assert captions == {ENGINE_COLOURS[name]: f"{name} {answer[index]}" for name, answer in answers.items()}
            both_wrong = all(answer[index] != LABELS[index] for answer in answers.values())
            assert (axis.spines["top"].get_linewidth() > 1) == both_wrong


@pytest.mark.usefixtures("results")
def test_the_digits_are_shown_as_they_were_before_standardisation(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr(mistakes, "draw", lambda images, *_: shown.append(images))
    plot.draw_all()
    np.testing.assert_allclose(shown[0], IMAGES, atol=1e-6)


def test_reliability_shows_the_filled_bins_and_the_calibration_error() -> None:
    probabilities = {"torch": predictions(6, 30), "scratch": predictions(7, 90)}
    figure = reliability.draw(probabilities, LABELS)
    for column, (engine, each) in enumerate(probabilities.items()):
        above, below = figure.axes[column], figure.axes[column + 2]
        bins = calibration_bins(each, LABELS)
        filled = bins.sizes > 0
        assert 0 < filled.sum() < len(filled)
        points = next(line for line in above.lines if str(line.get_label()).startswith(engine))
        np.testing.assert_array_equal(points.get_xydata(), np.c_[bins.confidence, bins.accuracy][filled])
        assert points.get_label() == f"{engine}: expected calibration error {calibration_error(each, LABELS):.2%}"
        assert [bar.get_height() for bar in below.patches if isinstance(bar, Rectangle)] == bins.sizes.tolist()
        assert below.get_yscale() == "log"


@pytest.mark.parametrize(
    ("shape", "squares", "rows", "side"),
    [((100, 784), 32, 2, 28), ((10, 784), 10, 1, 28), ((17, 784), 17, 2, 28), ((8, 1, 5, 5), 8, 1, 5)],
)
def test_weights_show_the_largest_units_on_a_scale_around_zero(
    shape: tuple[int, ...], squares: int, rows: int, side: int
) -> None:
    state = {"1.bias": np.full(shape[0], 9.0), "1.weight": np.random.default_rng(0).normal(size=shape)}
    state["1.weight"][3] *= 5
    figure = weights.draw(dict.fromkeys(ENGINES, state))
    image = figure.axes[0].images[0]
    shown = np.asarray(image.get_array())
    columns = min(squares, 16)
    assert shown.shape == (rows * (side + 1) - 1, columns * (side + 1) - 1)
    np.testing.assert_array_equal(shown[:side, :side], state["1.weight"][3].reshape(side, side))
    norms = [
        np.linalg.norm(shown[row : row + side, column : column + side])
        for row in range(0, shown.shape[0], side + 1)
        for column in range(0, shown.shape[1], side + 1)
    ]
    expected = sorted(np.linalg.norm(state["1.weight"].reshape(shape[0], -1), axis=1), reverse=True)[:squares]
    np.testing.assert_allclose(norms[:squares], expected)
    assert np.isnan(norms[squares:]).all()
    assert image.get_clim() == (-np.nanmax(np.abs(shown)), np.nanmax(np.abs(shown)))


PLOTS: dict[str, dict[str, Any]] = {
    name: properties
    for entry in yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    if isinstance(entry, dict)
    for name, properties in entry.items()
}
COLUMNS = {
    "history": Epoch._fields,
    "confusion": ("actual", "predicted", "count"),
    "classes": SCORE_COLUMNS,
}


def filled(name: str, files: Iterable[str]) -> dict[str, Any]:
    """A chart of dvc.yaml as DVC fills its template, from files of one row in two revisions."""
    properties = PLOTS[name]
    (field,) = set(properties["y"].values())
    points = [
        {**dict.fromkeys(COLUMNS[Path(file).stem], "1"), "rev": rev, "filename": file.removeprefix("plots/")}
        for file in files
        for rev in ("workspace", "HEAD")
    ]
    renderer = VegaRenderer(
        points,
        name,
        template=properties["template"],
        template_dir=ROOT / ".dvc/plots",
        x_label=properties["x"],
        y_label=properties.get("y_label", field),
        title=properties["title"],
        x=properties["x"],
        y=field,
    )
    chart: dict[str, Any] = renderer.get_filled_template()
    return chart


@pytest.mark.parametrize("name", PLOTS)
def test_dvc_fills_every_anchor_of_the_template(name: str) -> None:
    properties = PLOTS[name]
    text = json.dumps(filled(name, properties["y"]))
    assert "<DVC" not in text
    for part in (properties["x"], properties.get("y_label", ""), properties["title"], *properties["y"].values()):
        assert part in text


MANY = ("zeta", "scratch", "abacus", "torch", *(f"engine{number}" for number in range(5)))


@pytest.mark.parametrize("engines", [("scratch",), ("torch", "scratch"), MANY], ids=len)
@pytest.mark.parametrize(("name", "file"), [("validation loss", "history.csv"), ("accuracy by class", "classes.csv")])
def test_the_interactive_charts_have_the_colours_of_the_pictures(
    name: str, file: str, engines: tuple[str, ...]
) -> None:
    chart = filled(name, [f"plots/{engine}/{file}" for engine in engines])
    del chart["$schema"]  # of DVC's older Vega-Lite; ours draws it all the same, as in stages/tools/page.py
    drawing = vl_convert.vegalite_to_svg(chart)
    found = dict(re.findall(r'aria-label="[^"]*place: \d (\w+)[^"]*"[^>]*(?:fill|stroke)="(#\w+)"', drawing))
    assert {engine: colour.upper() for engine, colour in found.items()} == {
        engine: engine_colours(engines)[engine] for engine in engines
    }
    legend = re.findall(r">(torch|scratch|zeta|abacus|engine\d)</text>", drawing)
    assert legend == ["torch", "scratch", *sorted(set(engines) - {"torch", "scratch"})]


def test_further_engines_get_further_colours() -> None:
    colours = engine_colours(MANY)
    assert {engine: colours[engine] for engine in ENGINE_COLOURS} == ENGINE_COLOURS
    assert len(set(colours.values())) == 7  # of nine: then they come again
    assert len(set(engine_colours(MANY[:7]).values())) == 7


@pytest.mark.parametrize("number", [1, 3, 5])
def test_every_picture_shows_any_number_of_engines(number: int) -> None:
    engines = ("torch", "scratch", "zeta", "abacus", "jax")[:number]
    probabilities = {engine: predictions(seed, 30) for seed, engine in enumerate(engines)}
    counts = {engine: confusion_counts(each.argmax(axis=1), LABELS) for engine, each in probabilities.items()}
    history = pd.DataFrame({name: [1.0, 2.0] for name in Epoch._fields})
    figures = [
        curves.draw(dict.fromkeys(engines, history)),
        confusion.draw(counts),
        accuracy_by_class.draw(counts),
        mistakes.draw(IMAGES, LABELS, probabilities),
        reliability.draw(probabilities, LABELS),
        weights.draw({engine: {"1.weight": np.eye(20, 784)} for engine in engines}),
    ]
    for figure in figures:
        texts = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
        for engine in engines:
            assert any(re.match(rf"\s*{engine}\b", text) for text in texts), engine
