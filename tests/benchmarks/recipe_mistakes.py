"""What the most accurate recipe gets wrong: its tables and its figure in plots/recipes, for all to judge."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure

from stages.evaluation.figures.mistakes import COLUMNS, Tile, draw_tiles, height_of
from stages.evaluation.figures.style import STYLE, WIDTH, engine_colors, to_png
from stages.evaluation.tables import mistakes
from stages.pipeline.classifier import Images, Labels, Probabilities
from stages.pipeline.files import write_bytes, write_csv
from tests.benchmarks.experiments import ENGINES

FOLDER = Path("plots/recipes")
FIGURE = FOLDER / "mistakes.png"
TABLE_COLUMNS = ("seed", "index", "actual", "predicted")


def table_path(engine: str) -> Path:
    """One engine's mistakes with every seed, in git."""
    return FOLDER / f"{engine}.csv"


def first_seed_mistakes(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row for each image that an engine misclassifies with the first seed, by its index in the test split.

    ``tables`` have a row for each mistake of each seed. Columns: the image's class (actual), each engine's prediction
    with the first seed, and how many networks of all seeds and engines are wrong (networks), by which rows are sorted,
    the largest first.
    """
    every = pd.concat(tables.values())
    result = every.groupby("index").agg(actual=("actual", "first"), networks=("seed", "size"))
    first = every["seed"].min()
    for engine, table in tables.items():
        predicted = table[table["seed"] == first].set_index("index")["predicted"]
        result[engine] = predicted.reindex(result.index).fillna(result["actual"]).astype(int)
    wrong = result[list(tables)].ne(result["actual"], axis=0).any(axis=1)
    return result[wrong].sort_values("networks", ascending=False, kind="stable")


def draw(images: Images, tables: Mapping[str, pd.DataFrame], networks: int) -> Figure:
    """Draw every row of :func:`first_seed_mistakes`; ``images`` (N, 28, 28) are those of the test split, in [0, 1].

    ``networks`` is their number over all seeds and engines.
    """
    colors, tiles = engine_colors(tables), []
    for index, row in first_seed_mistakes(tables).iterrows():
        captions = [(f"{engine} {row[engine]}", colors[engine]) for engine in tables]
        captions.append((f"wrong in {row['networks']} of {networks}", "black"))
        framed = all(row[engine] != row["actual"] for engine in tables)
        tiles.append(Tile(images[int(str(index))], row["actual"], captions, framed))
    rows, captions_each = -(-len(tiles) // COLUMNS), len(tables) + 1
    figure = Figure(figsize=(WIDTH, height_of(rows, captions_each) + 0.6))
    draw_tiles(figure.subplots(), tiles, rows, captions_each)
    figure.suptitle(f"The {len(tiles)} test images misclassified with the first seed; framed ones by both engines")
    return figure


def write_table(engine: str, predicted: Mapping[int, Probabilities], labels: Labels) -> None:
    """Write one engine's mistakes on the test images, from the probabilities (N, 10) of each seed."""
    rows = [
        (seed, *row[:3])  # without the confidence
        for seed, probabilities in predicted.items()
        for row in mistakes(probabilities, labels)
    ]
    write_csv(table_path(engine), TABLE_COLUMNS, rows)


def write_figure(images: Images, networks: int) -> None:
    """Draw both engines' tables; ``images`` (N, 28, 28) are those of the test split, in [0, 1]."""
    tables = {engine: pd.read_csv(table_path(engine)) for engine in ENGINES}
    with style.context(STYLE):
        write_bytes(FIGURE, to_png(draw(images, tables, networks)))
