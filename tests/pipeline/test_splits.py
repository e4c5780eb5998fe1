"""Splits: what is read is what was written, and what is not a split is refused by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_npy
from stages.pipeline.splits import load_split

IMAGES = np.random.default_rng(0).normal(size=(5, 28, 28)).astype(np.float32)
LABELS = np.array([0, 9, 3, 3, 1])


def write(folder: Path, images: np.ndarray[Any, Any] = IMAGES, labels: np.ndarray[Any, Any] = LABELS) -> None:
    write_npy(folder / "train_images.npy", images)
    write_npy(folder / "train_labels.npy", labels)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path)
    split = load_split("train", tmp_path)
    assert (split.images == IMAGES).all()
    assert (split.labels == LABELS).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": IMAGES.astype(np.float64)}, r"train_images\.npy: expected float32 \(N, 28, 28\), found float64"),
        ({"images": IMAGES[:, :27]}, r"train_images\.npy: expected float32 \(N, 28, 28\), found float32 \(5, 27, 28\)"),
        ({"labels": LABELS.astype(np.uint8)}, r"train_labels\.npy: expected int64 \(N\), found uint8"),
        ({"labels": LABELS[:4]}, r"train_labels\.npy: 4 labels for 5 images"),
        ({"labels": LABELS + 1}, r"train_labels\.npy: labels must be 0 to 9"),
    ],
)
def test_wrong_arrays_are_named(tmp_path: Path, changes: dict[str, np.ndarray[Any, Any]], message: str) -> None:
    write(tmp_path, **changes)
    with pytest.raises(PipelineError, match=message):
        load_split("train", tmp_path)


def test_truncated_missing_and_pickled_files_are_named(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "train_images.npy"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(PipelineError, match=r"train_images\.npy: Failed to read all data for array"):
        load_split("train", tmp_path)
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(PipelineError, match=r"train_images\.npy: Object arrays cannot be loaded"):
        load_split("train", tmp_path)
    path.unlink()
    with pytest.raises(PipelineError, match=r"train_images\.npy: missing; make it again with `dvc repro"):
        load_split("train", tmp_path)
