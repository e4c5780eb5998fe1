"""Other people's digits through the whole pipeline, with the command of the README: here of four classes."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import vl_convert

from stages.data import synthetic
from stages.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, decode, encode
from stages.data.raw_files import RawFiles
from tests.data.faulty_server import fetch_config
from tests.project import ENGINES, Project, stages_run
from tests.readme import commands

pytestmark = pytest.mark.slow

NAMES = {
    TRAIN_IMAGES: "emnist-some-train-images-idx3-ubyte.gz",
    TRAIN_LABELS: "emnist-some-train-labels-idx1-ubyte.gz",
    TEST_IMAGES: "emnist-some-test-images-idx3-ubyte.gz",
    TEST_LABELS: "emnist-some-test-labels-idx1-ubyte.gz",
}


def four_classes() -> RawFiles:
    """Synthetic digits without those above 3."""
    files = synthetic.fetch(fetch_config("synthetic", synthetic_train_size=1000, synthetic_test_size=300), 7)
    arrays = {name: decode(name, content) for name, content in files.items()}
    kept = {TRAIN_IMAGES: arrays[TRAIN_LABELS] < 4, TEST_IMAGES: arrays[TEST_LABELS] < 4}
    kept |= {TRAIN_LABELS: kept[TRAIN_IMAGES], TEST_LABELS: kept[TEST_IMAGES]}
    return {name: encode(array[kept[name]]) for name, array in arrays.items()}


def test_digits_of_four_classes_are_trained_on_and_fetched_again_when_they_change(
    project: Project, tmp_path: Path
) -> None:
    folder, files = tmp_path / "mine", four_classes()
    folder.mkdir()
    for name, content in files.items():
        (folder / NAMES[name]).write_bytes(gzip.compress(content))
    (command,) = (line for line in commands("stages/README.md", "Where the images come from") if "=custom" in line)
    project.run("sh", "-c", command.replace("/absolute/path", str(folder)))
    for engine in ENGINES:
        metrics = project.load_json(f"metrics/{engine}.json")
        assert metrics["dataset"] == "custom"
        assert metrics["accuracy"] > 0.4
        assert [recall is None for recall in metrics["per_class"]] == 4 * [False] + 6 * [True]
        assert metrics["macro_f1"] > 0.3  # a mean over four classes
    for table in ("classes", "confusion"):
        chart = json.loads(project.dvc("plots", "show", "--show-vega", f"plots/torch/{table}.csv"))
        assert "NaN" not in vl_convert.vegalite_to_svg({key: chart[key] for key in chart if key != "$schema"})
    assert len(list((project.folder / "plots/images").iterdir())) == 5
    assert project.dvc("status").splitlines()[-1] == "Data and pipelines are up to date."

    changed = encode(255 - decode(TEST_IMAGES, files[TEST_IMAGES]))
    (folder / NAMES[TEST_IMAGES]).write_bytes(gzip.compress(changed))
    assert stages_run(project.dvc("repro", "preprocess")) == ["fetch", "preprocess"]
    assert project.read(f"data/raw/{TEST_IMAGES}") == changed

    letters = encode(np.arange(1, 27, dtype=np.uint8))
    (folder / NAMES[TRAIN_LABELS]).write_bytes(gzip.compress(letters))
    refusal = project.dvc("repro", "preprocess", check=False)
    assert f"  directory: {TRAIN_LABELS}: labels 0 to 9 expected, 26 found\n" in refusal
    assert project.read(f"data/raw/{TEST_IMAGES}") == changed
