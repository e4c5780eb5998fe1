"""What the most accurate recipe still gets wrong: every image, with both engines' answers, for all to judge."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure

from stages.evaluation.figures.mistakes import CELL, LINE, SIDE, draw_image
from stages.evaluation.figures.style import STYLE, WIDTH, to_png
from stages.pipeline.classifier import Images
from stages.pipeline.files import write_bytes, write_csv
from tests.benchmarks.experiments import ENGINES, read_csv, read_npy

FOLDER = Path("plots/recipes")
FIGURE = FOLDER / "mistakes.png"
COLUMNS = 8
COLUMN_NAMES = ("seed", "index", "actual", "predicted")


def table_path(engine: str) -> Path:
    """One engine's mistakes with every seed, in git."""
    return FOLDER / f"{engine}.csv"


def answers(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row for each image that an engine's network misclassifies with the first seed, by its index in the test split.

    ``tables`` have a row for each mistake of each seed. Columns: the image's class (actual), each engine's answer with
    the first seed, and how many networks of all seeds and engines are wrong (networks). Sorted by networks, descending.
    """
    every = pd.concat(tables.values())
    result = every.groupby("index").agg(actual=("actual", "first"), networks=("seed", "size"))
    first = every["seed"].min()
    for engine, table in tables.items():
        predicted = table[table["seed"] == first].set_index("index")["predicted"]
        result[engine] = predicted.reindex(result.index).fillna(result["actual"]).astype(int)
    wrong = result[list(tables)].ne(result["actual"], axis=0).any(axis=1)
    return result[wrong].sort_values("networks", ascending=False, kind="stable")


def draw(images: Images, tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw every row of :func:`answers`. ``images`` (N, 28, 28) are those of the test split, in [0, 1]."""
    rows, networks = answers(tables), sum(table["seed"].nunique() for table in tables.values())
    height = SIDE + (len(tables) + 3) * LINE
    lines = -(-len(rows) // COLUMNS)
    figure = Figure(figsize=(WIDTH, WIDTH * lines * height / (COLUMNS * CELL) + 0.6))
    axis = figure.subplots()
    for place, (index, row) in enumerate(rows.iterrows()):
        line, column = divmod(place, COLUMNS)
        corner = column * CELL + (CELL - SIDE) / 2, line * height + LINE
        predicted = {engine: str(row[engine]) for engine in tables}
        framed = all(row[engine] != row["actual"] for engine in tables)
        draw_image(axis, corner, images[int(str(index))], row["actual"], predicted, framed)
        below = corner[1] + SIDE + 1 + len(tables) * LINE
        text = f"wrong in {row['networks']} of {networks}"
        axis.text(corner[0] + SIDE / 2, below, text, fontsize=8, ha="center", va="top")
    axis.set(xlim=(0, COLUMNS * CELL), ylim=(lines * height, 0), aspect="equal")
    axis.set_axis_off()
    figure.suptitle(f"All {len(rows)} test images that the most accurate recipe gets wrong, framed: in both engines")
    return figure


def write_table(engine: str, experiments: Mapping[int, str]) -> None:
    """Write one engine's mistakes of all seeds, from the DVC experiment of each."""
    tables = [read_csv(name, f"plots/{engine}/mistakes.csv").assign(seed=seed) for seed, name in experiments.items()]
    rows = pd.concat(tables)[list(COLUMN_NAMES)]
    write_csv(table_path(engine), COLUMN_NAMES, rows.to_numpy().tolist())


def write_figure(experiment: str) -> None:
    """Draw the figure if both engines' tables are there; the images are those of any experiment."""
    if not all(table_path(engine).exists() for engine in ENGINES):
        return
    images = read_npy(experiment, "data/processed/test_images.npy")
    images = (images - images.min()) / (images.max() - images.min())  # standardized, back to [0, 1]
    with style.context(STYLE):
        write_bytes(FIGURE, to_png(draw(images, {engine: pd.read_csv(table_path(engine)) for engine in ENGINES})))
