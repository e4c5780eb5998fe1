"""`make draw` where something is missing, and what its page may hold."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from selenium import webdriver

from stages.engines import make
from stages.engines.config import Config
from stages.pipeline.classifier import Standardization
from stages.pipeline.params import load_config
from stages.pipeline.rng import spawn_generators
from stages.tools.draw.gallery import MOST_WRONG, PredictedImages, make_gallery
from stages.tools.draw.models import describe
from stages.tools.draw.page import make_page
from tests.project import Project
from tests.tools.drawn_page import THREE, DrawnPage, build

pytestmark = pytest.mark.slow

COMMAND = (sys.executable, "-m", "stages.tools.draw")
# Python runs it when it starts: an installation without PyTorch, as `make scratch` makes one.
WITHOUT_TORCH = """
import sys


class Finder:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("torch", "torchvision"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])


sys.meta_path.insert(0, Finder())
"""


def test_without_pytorch_the_page_shows_the_other_network_alone(
    project: Project, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_TORCH)
    done = project.run(*COMMAND, environment={"PYTHONPATH": str(tmp_path)})
    assert "note: the page shows scratch alone: No module named 'torch'; `make` installs PyTorch\n" in done.stdout
    page = DrawnPage(browser, (project.folder / "draw.html").as_uri())
    page.draw(THREE)
    assert set(page.probabilities()) == {"scratch"}
    assert page.texts(".card h3") == ["NumPy"]
    assert page.text("#status").startswith("NumPy reads ")
    assert len(page.browser.find_elements("css selector", ".bars tbody tr:first-child > *")) == 2
    assert page.console() == []


def test_a_missing_model_is_named_and_without_any_there_is_no_page(project: Project) -> None:
    (project.folder / "models/scratch/model.npz").unlink()
    note = (
        "note: the page shows torch alone: models/scratch/model.npz: missing; train it with `dvc repro train_scratch`"
    )
    assert note in project.run(*COMMAND).stdout
    (project.folder / "draw.html").unlink()
    (project.folder / "models/torch/mnist_model.pth").unlink()
    done = project.run(*COMMAND, check=False)
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    assert line.startswith("error: no network to show: models/torch/mnist_model.pth: missing; train it with")
    assert not (project.folder / "draw.html").exists()


@pytest.mark.parametrize("name", ["dataset.json", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_without_the_raw_images_one_line_says_what_brings_them(project: Project, name: str) -> None:
    (project.folder / "data/raw" / name).unlink()
    done = project.run(*COMMAND, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith(f"error: data/raw/{name}: ")
    assert "`dvc repro" in done.stdout
    assert "Traceback" not in done.stdout


def test_the_name_of_a_dataset_is_text_whatever_it_holds(project: Project, browser: webdriver.Chrome) -> None:
    name = "</script><script>console.error('run')</script><b>&amp;\u2028 ${1} $data"
    path = project.folder / "data/raw/dataset.json"
    content = json.loads(path.read_bytes()) | {"dataset": name}
    path.unlink()
    path.write_text(json.dumps(content))
    page = DrawnPage(browser, build(project))
    assert page.texts("#lead")[0].startswith(f"Trained on {name}.")
    assert page.texts("b") == []
    assert page.console() == []


def test_git_ignores_the_page(project: Project) -> None:
    build(project)
    assert project.status() == ""
    shutil.rmtree(project.folder / "models")
    assert "draw.html" not in project.status()


def test_the_page_of_the_committed_networks_is_below_5_mb() -> None:
    """With as many test images as the gallery takes at most."""
    config, rng = load_config(Config), np.random.default_rng(1)
    networks, probabilities = [], {}
    for number, engine in enumerate(("torch", "scratch")):
        classifier = make(engine, getattr(config, engine), spawn_generators(1), Standardization(0.13, 0.31))
        networks.append(describe(engine, classifier, 0.5))
        probabilities[engine] = np.eye(10, dtype=np.float32)[[1 - number] * 500 + [number] * 500 + [2] * 100]
    images = rng.integers(0, 256, (1100, 28, 28), np.uint8)
    gallery = make_gallery(PredictedImages("MNIST", images, np.array([0] * 1000 + [2] * 100), probabilities))
    assert [len(each["items"]) for each in gallery["wrong"]] == [MOST_WRONG, MOST_WRONG]
    assert 3_000_000 < len(make_page(networks, gallery).encode()) < 5_000_000
