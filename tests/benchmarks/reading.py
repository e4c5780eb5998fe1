"""Draw pictures of handwriting, and prepare them for the networks as `predict` prepares a file."""

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.pipeline.errors import PipelineError
from stages.tools.handwriting import prepare
from stages.tools.handwriting.pictures import read_picture
from tests.benchmarks.photos import Digits, take
from tests.benchmarks.scenes import Scene, Style, draw_scene

Found = NDArray[np.uint8] | None  # (digits, 28, 28), as the networks see them; None: refused


class Task(NamedTuple):
    """A picture to draw and to read, once for each number of digits that is expected."""

    digits: Digits
    style: Style
    seed: tuple[int, ...]  # of all that is random
    expected: tuple[int | None, ...] = (1,)

    def scene(self) -> Scene:
        """What the picture looks like."""
        return draw_scene(self.style, np.random.default_rng(self.seed))


def read(task: Task) -> list[Found]:
    """What is found in the picture, for each number that is expected."""
    generator = np.random.default_rng(task.seed)
    file = take(task.digits, draw_scene(task.style, generator), generator)
    return [prepare_file(file, expected, len(task.digits)) for expected in task.expected]


def read_scan_of(image: NDArray[np.float64]) -> Found:
    """What is found in one of scikit-learn's images, (8, 8) from 0 to 16, printed in gray on white, 64 pixels high."""
    gray = np.pad(255 - image / 16 * 255, 1, constant_values=255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(gray).resize((80, 80), Image.Resampling.BICUBIC).save(file, "PNG")
    return prepare_file(file.getvalue(), 1, 1)


def prepare_file(file: bytes, expected: int | None, count: int) -> Found:
    """The digits of a picture in which there are ``count``; None for a refusal or another number."""
    try:
        digits = prepare(read_picture(io.BytesIO(file)), expected)
    except PipelineError:
        return None
    return np.stack(digits) if len(digits) == count else None
