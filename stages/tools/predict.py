"""Read handwritten digits in pictures with the trained networks: ``python -m stages.tools.predict FILE ...``.

Ends with exit status 1 if there was a picture, or a model, that it could not read; all others are answered.
"""

import argparse
import io
import json
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from stages.engines import ENGINES, load
from stages.pipeline.classifier import CLASSES, Classifier, Probabilities
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_bytes
from stages.tools.commands import start
from stages.tools.handwriting import prepare
from stages.tools.handwriting.mnist import Pixels
from stages.tools.handwriting.pictures import SUFFIXES, read_picture

STANDARD_INPUT = "-"
ANY = "any"


class Answer(NamedTuple):
    """A digit, or several in a row, and the probability that a network gives it."""

    answer: str
    confidence: float


Answers = dict[str, list[Answer]]  # of each engine, the most probable first


def main() -> None:
    """Print a line for each picture and engine, and one on standard error for what cannot be read."""
    options = parse_arguments(sys.argv[1:])
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]  # the name of a file may be any bytes
    classifiers, errors = load_classifiers(options.engine or list(ENGINES))
    results: list[dict[str, Any]] = []
    for name in [name for given in options.files for name in find_pictures(given)] if classifiers else []:
        try:
            images = read_digits(name, options.digits)
            answers = {engine: answer(each, images, options.top) for engine, each in classifiers.items()}
            saved = save(images, name, options.save, len(results) + 1) if options.save else []
        except PipelineError as error:
            errors.append(f"error: {name}: {error}")
            print(errors[-1], file=sys.stderr)
            results.append({"file": name, "error": str(error)})
            continue
        results.append(as_json(name, answers, saved))
        if not options.json:
            print_answers(name, answers)
    if options.json:
        print(json.dumps(results, indent=2))
    if errors or not classifiers:
        sys.exit(1)


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Explains itself with ``--help``."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.tools.predict", description="Read handwritten digits in pictures with both networks."
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="picture, folder of pictures, or - for standard input")
    parser.add_argument(
        "--digits",
        type=digit_count,
        default=1,
        metavar="N",
        help="how many digits each picture has, or 'any'; default 1",
    )
    parser.add_argument("--top", type=positive_int, default=2, metavar="N", help="how many answers to print; default 2")
    parser.add_argument("--json", action="store_true", help="print one JSON array")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write the 28x28 images that the networks saw")
    parser.add_argument("--engine", action="append", choices=list(ENGINES), help="ask only this network")
    return parser.parse_args(arguments)


def digit_count(text: str) -> int | None:
    """A number of digits; None for any."""
    return None if text == ANY else positive_int(text)


def positive_int(text: str) -> int:
    """A positive number."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text!r}")
    return int(text)


def load_classifiers(engines: Sequence[str]) -> tuple[dict[str, Classifier], list[str]]:
    """The trained networks that there are, and a printed error for each that is missing; PyTorch may be left out."""
    classifiers: dict[str, Classifier] = {}
    errors = []
    for engine in engines:
        try:
            classifiers[engine] = load(engine)
        except PipelineError as error:
            errors.append(f"error: {error}")
            print(errors[-1], file=sys.stderr)
        except ImportError as error:
            print(f"note: {engine} is left out: {error}; `make` installs PyTorch", file=sys.stderr)
    return classifiers, errors


def find_pictures(name: str) -> Iterator[str]:
    """A folder's pictures in the order of their names; everything else as it is."""
    try:
        inside = [each for each in Path(name).iterdir() if each.suffix.lower() in SUFFIXES and each.is_file()]
    except OSError:  # no folder, or none that may be read: reading it says why
        inside = []
    yield from sorted(map(str, inside)) or [name]


def read_digits(name: str, count: int | None) -> list[Pixels]:
    """The digits of one picture as MNIST has them. Raises PipelineError where they cannot be read."""
    if name == STANDARD_INPUT:
        return prepare(read_picture(io.BytesIO(sys.stdin.buffer.read() if sys.stdin else b"")), count)
    try:
        mode = Path(name).stat().st_mode if name else 0
        if stat.S_ISDIR(mode) and os.access(name, os.R_OK):
            raise PipelineError(f"no picture in this folder: none ends in {', '.join(SUFFIXES)}")
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise PipelineError("not a file")
    except OSError as error:
        raise PipelineError("no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)) from None
    return prepare(read_picture(Path(name)), count)


def answer(classifier: Classifier, images: Sequence[Pixels], top: int) -> list[Answer]:
    """A network's most probable answers for digits in a row."""
    return most_probable(classifier.predict(classifier.standardization.apply(np.stack(images))), top)


def most_probable(probabilities: Probabilities, top: int) -> list[Answer]:
    """The ``top`` most probable numbers, given each digit's probabilities (N, 10): the product of its digits'."""
    best = [Answer("", 1.0)]
    for digit in probabilities.tolist():
        longer = [Answer(f"{a.answer}{label}", a.confidence * digit[label]) for a in best for label in range(CLASSES)]
        best = sorted(longer, key=lambda each: -each.confidence)[:top]
    return best


def print_answers(name: str, answers: Answers) -> None:
    """Such as ``seven.png  torch    7 99.82%, 2 0.10%``."""
    for engine, best in answers.items():
        print(f"{name}  {engine:7}  {', '.join(f'{each.answer} {each.confidence:.2%}' for each in best)}", flush=True)


def as_json(name: str, answers: Answers, saved: Sequence[Path]) -> dict[str, Any]:
    """What ``--json`` prints of one picture."""
    result: dict[str, Any] = {"file": name}
    if saved:
        result["saved"] = list(map(str, saved))
    return {**result, "answers": {engine: [each._asdict() for each in best] for engine, best in answers.items()}}


def save(images: Sequence[Pixels], name: str, folder: Path, number: int) -> list[Path]:
    """Write the images as PNG files, whose names begin with the picture's place in the command."""
    stem = "stdin" if name == STANDARD_INPUT else Path(name).stem
    paths = []
    for place, image in enumerate(images, start=1):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        paths.append(folder / f"{number:03}-{stem}{f'-{place}' if len(images) > 1 else ''}.png")
        write_bytes(paths[-1], buffer.getvalue())
    return paths


if __name__ == "__main__":
    start(main)
