"""The command that reads pictures, in a project whose networks `dvc repro` has trained, run as a user runs it."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.data.idx import read_split
from stages.tools.handwriting import prepare
from tests.project import ENGINES, Project

pytestmark = pytest.mark.slow


class Command:
    """``python -m stages.tools.predict`` in a project, and some pictures beside it."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project, self.folder = project, folder
        images, _ = read_split(project.folder / "data/raw", "test")
        self.pictures = [Image.fromarray(255 - image).resize((140, 140)) for image in images[:3]]
        for number, picture in enumerate(self.pictures):
            picture.save(folder / f"digit {number}.png")
        Image.new("L", (50, 50), 255).save(folder / "blank.png")
        (folder / "text.png").write_text("no picture")
        (folder / "notes.txt").write_text("no picture, and not named as one")

    def run(self, *arguments: str, stdin: bytes = b"", status: int = 0) -> tuple[list[str], list[str]]:
        """The lines of its output, and those of its errors."""
        done = subprocess.run(
            [sys.executable, "-m", "stages.tools.predict", *arguments],
            cwd=self.project.folder,
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert done.returncode == status, done.stderr.decode()
        return done.stdout.decode().splitlines(), done.stderr.decode().splitlines()

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def answers(self, engine: str, pixels: Any) -> list[tuple[str, float]]:
        """What the engine itself says of an image, in the project's folder."""
        code = (
            "import sys, json, numpy as np; from stages.engines import load; c = load(sys.argv[1]);"
            "x = np.array(json.load(sys.stdin), np.uint8)[None];"
            "print(json.dumps(c.predict(c.standardization.apply(x))[0].tolist()))"
        )
        command = [sys.executable, "-c", code, engine]
        text = json.dumps(pixels.tolist())
        done = subprocess.run(command, cwd=self.project.folder, input=text, text=True, capture_output=True, check=True)
        probabilities = json.loads(done.stdout)
        return sorted(((str(label), p) for label, p in enumerate(probabilities)), key=lambda each: -each[1])


@pytest.fixture
def command(finished: Project, tmp_path: Path) -> Command:
    return Command(finished, tmp_path)


def test_each_file_and_engine_has_a_line_and_what_cannot_be_read_has_one_too(command: Command) -> None:
    names = [command.path(name) for name in ("digit 0.png", "blank.png", "missing.png", "text.png", "digit 1.png")]
    output, errors = command.run(*names, status=1)
    assert [line.split("  ")[0] for line in output] == [names[0]] * 2 + [names[4]] * 2
    assert errors == [
        f"error: {names[1]}: blank: nothing is written on it",
        f"error: {names[2]}: no such file",
        f"error: {names[3]}: cannot be read: no PNG, JPEG, WEBP, GIF, TIFF or BMP picture, or damaged",
    ]
    (pixels,) = prepare(command.pictures[0])
    for line, engine in zip(output, ENGINES, strict=False):
        (first, confidence), (second, other) = command.answers(engine, pixels)[:2]
        assert line == f"{names[0]}  {engine:7}  {first} {confidence:.2%}, {second} {other:.2%}"


def test_what_is_no_file_is_one_line_and_the_others_are_answered(command: Command) -> None:
    os.mkfifo(command.path("pipe.png"))
    (command.folder / "folder.png").mkdir()
    good = command.path("digit 0.png")
    output, errors = command.run(*map(command.path, ("pipe.png", "folder.png", "a" * 300)), good, status=1)
    assert len(output) == 2
    assert [error.split(": ")[-1] for error in errors[::2]] == ["not a file", "File name too long"]
    assert ": no picture in this folder: none ends in .png" in errors[1]
    output, errors = command.run(str(command.folder), status=1)
    assert (len(output), len(errors)) == (6, 2)  # neither waits for the pipe


def test_json_has_the_answers_the_errors_and_the_saved_images(command: Command, tmp_path: Path) -> None:
    output, _ = command.run("--json", "--top", "3", "--save", str(tmp_path / "seen"), str(command.folder), status=1)
    results = json.loads("\n".join(output))
    assert [Path(each["file"]).name for each in results] == [
        "blank.png", "digit 0.png", "digit 1.png", "digit 2.png", "text.png",
    ]  # fmt: skip  # one line
    assert ["error" in each for each in results] == [True, False, False, False, True]
    for result, picture in zip(results[1:4], command.pictures, strict=True):
        (pixels,) = prepare(picture)
        (saved,) = result["saved"]
        np.testing.assert_array_equal(np.asarray(Image.open(saved)), pixels)
        for engine in ENGINES:
            expected = command.answers(engine, pixels)[:3]
            given = [(each["answer"], each["confidence"]) for each in result["answers"][engine]]
            assert [label for label, _ in given] == [label for label, _ in expected]
            assert np.allclose([p for _, p in given], [p for _, p in expected], atol=1e-6)


def test_several_digits_are_one_number_whose_confidence_is_the_product(command: Command) -> None:
    strip = Image.fromarray(np.hstack([np.pad(np.asarray(each), 20, constant_values=255) for each in command.pictures]))
    content = io.BytesIO()
    strip.save(content, "PNG")
    output, errors = command.run("-", stdin=content.getvalue(), status=1)
    assert (output, len(errors)) == ([], 1)
    assert "3 digits found, 1 expected" in errors[0]
    images = prepare(strip, 3)
    for count in ("3", "any"):
        output, _ = command.run("--digits", count, "--json", "-", stdin=content.getvalue())
        (result,) = json.loads("\n".join(output))
        for engine in ENGINES:
            digits = [command.answers(engine, pixels) for pixels in images]
            best, second = result["answers"][engine]
            assert best["answer"] == "".join(each[0][0] for each in digits)
            assert best["confidence"] == pytest.approx(np.prod([each[0][1] for each in digits]), rel=1e-5)
            other = max(each[1][1] / each[0][1] for each in digits) * best["confidence"]
            assert second["confidence"] == pytest.approx(other, rel=1e-5)


def test_a_missing_model_is_one_line_and_the_other_network_answers(project: Project, tmp_path: Path) -> None:
    command = Command(project, tmp_path)
    (project.folder / "models/torch/mnist_model.pth").unlink()
    output, errors = command.run(command.path("digit 0.png"), status=1)
    assert [line.split()[-5] for line in output] == ["scratch"]
    assert errors == ["error: models/torch/mnist_model.pth: missing; train it with `dvc repro train_torch`"]
    assert command.run("--engine", "scratch", command.path("digit 0.png")) == (output, [])
    (project.folder / "models/scratch/model.npz").write_bytes(b"damaged")
    output, errors = command.run(command.path("digit 0.png"), status=1)
    assert (output, len(errors)) == ([], 2)


def test_make_predict_reads_files(project: Project, tmp_path: Path) -> None:
    command = Command(project, tmp_path)
    project.install()
    command.folder.joinpath("digit 0.png").rename(project.folder / "seven.png")
    output = project.run("make", "predict", "FILES=seven.png --top 1").stdout.splitlines()
    assert [line.split()[:2] for line in output] == [["seven.png", engine] for engine in ENGINES]


@pytest.mark.parametrize("arguments", [[], ["--digits", "0", "x"], ["--top", "none", "x"], ["--engine", "jax", "x"]])
def test_wrong_arguments_are_explained(command: Command, arguments: list[str]) -> None:
    _, errors = command.run(*arguments, status=2)
    assert errors[0].startswith("usage:")
    assert "Traceback" not in "".join(errors)
