"""Damaged, wrong and malicious files in front of the real stages: one line that names the file, and nothing changed."""

import io
import os
import pickle
import shutil
import struct
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from stages.engines.scratch_engine import ScratchClassifier
from stages.engines.torch_engine import TorchClassifier
from tests.imports import ROOT
from tests.project import SMALL, Project

pytestmark = pytest.mark.slow

RAW, PROCESSED, PREDICTIONS = "data/raw/", "data/processed/", "data/predictions/"
MODELS = {"torch": "models/torch/mnist_model.pth", "scratch": "models/scratch/model.npz"}
Damage = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the data stages and the evaluation of two untrained networks have run."""
    folder = tmp_path_factory.mktemp("healthy")
    shutil.copy2(ROOT / "params.yaml", folder)
    Project(folder).set(SMALL)
    for stage in ("fetch", "preprocess"):
        assert run(folder, stage).returncode == 0
    for path in MODELS.values():
        (folder / path).parent.mkdir(parents=True)
    (folder / MODELS["scratch"]).write_bytes(ScratchClassifier([16], np.random.default_rng(0)).to_bytes())
    (folder / MODELS["torch"]).write_bytes(TorchClassifier([16], np.random.default_rng(0)).to_bytes())
    for engine in MODELS:
        assert run(folder, f"evaluate {engine}").returncode == 0
    return folder


def run(folder: Path, stage: str) -> subprocess.CompletedProcess[str]:
    """The real stage process."""
    return subprocess.run(
        [sys.executable, "-m", *f"stages.{stage}".split()],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(healthy: Path, folder: Path, stage: str, path: str, damage: Damage | None) -> str:
    """The one line with which ``stage`` refuses a damaged (or, without damage, missing) ``path``, changing nothing."""
    shutil.copytree(healthy, folder, dirs_exist_ok=True)
    if damage:
        (folder / path).write_bytes(damage((folder / path).read_bytes()))
    else:
        (folder / path).unlink()
    before = files(folder)
    done = run(folder, stage)
    assert done.returncode == 1
    assert files(folder) == before
    lines = [line for line in done.stderr.splitlines() if not line.startswith("waiting for another run")]
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {path}: ")
    assert len(lines[0]) < 500
    return lines[0]


def header(shape: tuple[int, ...]) -> Damage:
    """Another shape in an IDX file's header."""
    return lambda content: content[:4] + struct.pack(f">{len(shape)}I", *shape) + content[4 + 4 * len(shape) :]


RAW_DAMAGE: list[tuple[str, Damage, str]] = [
    (
        TRAIN_IMAGES,
        lambda content: b"\0\0\x0d\x03" + content[4:],
        "not IDX: magic number 00000803 expected, 00000d03 found",
    ),
    (TRAIN_IMAGES, lambda content: content[:2] + b"\x08\x01" + content[4:], "magic number 00000803 expected, 00000801"),
    (TEST_IMAGES, header((200, 56, 14)), "images of 28 x 28 expected, 56 x 14 found"),
    (TEST_IMAGES, lambda content: content[:-1], "truncated: 156816 bytes expected, 156815 found"),
    (TEST_IMAGES, lambda content: content[:10], "truncated: "),
    (TEST_IMAGES, lambda content: content[:16] + bytes(len(content) - 16), "blank: every pixel is 0"),
    (
        TRAIN_IMAGES,
        header((2**32 - 1, 2**32 - 1, 2**32 - 1)),
        "truncated: 79228162458924105385300197391 bytes expected",
    ),
    (TRAIN_LABELS, lambda content: content[:-1] + b"\x0a", "labels 0 to 9 expected, 10 found"),
    (TRAIN_LABELS, lambda content: header((399,))(content)[:-1], "400 labels expected, one an image, 399 found"),
    (TEST_LABELS, lambda content: content + b"\1", "too long: 208 bytes expected, 209 found"),
    (TEST_LABELS, lambda _: b"", "magic number 00000801 expected, nothing found"),
]


@pytest.mark.parametrize(("name", "damage", "fault"), RAW_DAMAGE, ids=[fault for _, _, fault in RAW_DAMAGE])
def test_raw_digits(healthy: Path, tmp_path: Path, name: str, damage: Damage, fault: str) -> None:
    line = refusal(healthy, tmp_path, "preprocess", RAW + name, damage)
    assert fault in line
    assert line.endswith("; fetch it again with dvc repro --force --single-item fetch")


class Malicious:
    """Its pickle creates a file when it is read."""

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (Path("trace"),)


def npy(array: object, version: tuple[int, int] = (1, 0)) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array), version)
    return buffer.getvalue()


def as_array(change: Callable[[np.ndarray[Any, Any]], object]) -> Damage:
    """A change to the array in a .npy file."""
    return lambda content: npy(change(np.load(io.BytesIO(content))))


def npz(content: bytes) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, np.load(io.BytesIO(content)))
    return buffer.getvalue()


def infinite(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array[-1, -1] = np.inf
    return array


def declaring(shape: str) -> Damage:
    """Another shape in a .npy file's header, and the first kilobyte of its contents."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return lambda content: b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + content[128:1152]


ARRAY_DAMAGE: dict[str, tuple[Damage | None, str]] = {
    "missing": (None, "missing"),
    "empty": (lambda _: b"", "reading magic string, expected 8 bytes got 0"),
    "text": (lambda _: b"<html>Please log in</html>", "the magic string is not correct"),
    "truncated": (lambda content: content[:-1], "bytes of contents expected, "),
    "too long": (lambda content: content + b"\0", "bytes of contents expected, "),
    "only a header": (lambda content: content[:128], "bytes of contents expected, 0 found"),
    "half a header": (lambda content: content[:64], "reading array header, expected 118 bytes got 54"),
    "wrong type": (as_array(lambda array: array.astype(np.float64)), "expected float32 (N, "),
    "wrong byte order": (as_array(lambda array: array.astype(">f4")), "expected float32 (N, "),
    "wrong shape": (as_array(lambda array: array[:, 1:]), "expected float32 (N, "),
    "no digits": (as_array(lambda array: array[:0]), "expected float32 (N, "),
    "transposed": (as_array(np.asfortranarray), "found transposed float32 ("),
    "other version": (
        lambda content: npy(np.load(io.BytesIO(content)), (2, 0)),
        "format version 1.0 expected, 2.0 found",
    ),
    "pickled objects": (lambda _: npy(np.array([Malicious()])), "found object (1,)"),
    "a pickle": (lambda _: pickle.dumps(Malicious()), "the magic string is not correct"),
    "a .npz": (npz, "the magic string is not correct"),
    "huge": (declaring("(10000000000, 28, 28)"), " found"),
    "huger than any memory": (declaring(f"({10**30},)"), "expected float32 (N, "),
    "negative": (declaring("(-1, 28, 28)"), "expected float32 (N, "),
    "code": (declaring("(open('trace', 'w'),)"), "malformed node"),
    "not finite": (as_array(infinite), ""),
}


IMAGES = ("train_scratch", f"{PROCESSED}validation_images.npy", "preprocess")
ROWS = ("compare", f"{PREDICTIONS}scratch.npy", "evaluate@scratch")  # read by the same function: the rest is the same


@pytest.mark.parametrize(
    ("stage", "path", "maker", "kind"),
    [
        *((*IMAGES, kind) for kind in ARRAY_DAMAGE),
        *((*ROWS, kind) for kind in ("missing", "truncated", "pickled objects", "a .npz", "huge", "not finite")),
    ],
)
def test_arrays(healthy: Path, tmp_path: Path, stage: str, path: str, maker: str, kind: str) -> None:
    damage, fault = ARRAY_DAMAGE[kind]
    line = refusal(healthy, tmp_path, stage, path, damage)
    assert fault in line
    assert line.endswith(f"; make it again with `dvc repro --force --single-item {maker}`")


@pytest.mark.parametrize(
    ("stage", "path", "damage", "fault"),
    [
        (
            "evaluate scratch",
            f"{PROCESSED}test_labels.npy",
            as_array(lambda labels: labels + 1),
            "labels must be 0 to 9",
        ),
        ("evaluate scratch", f"{PROCESSED}test_labels.npy", as_array(lambda labels: labels[1:]), "199 labels for 200"),
        ("compare", f"{PREDICTIONS}torch.npy", as_array(lambda rows: rows[1:]), "expected shape (200, 10), found (199"),
        ("compare", f"{PREDICTIONS}torch.npy", as_array(lambda rows: rows * 2), "probabilities whose sum is 1"),
        ("compare", f"{PREDICTIONS}torch.npy", as_array(lambda rows: -rows), "probabilities whose sum is 1"),
    ],
)
def test_wrong_contents(healthy: Path, tmp_path: Path, stage: str, path: str, damage: Damage, fault: str) -> None:
    assert fault in refusal(healthy, tmp_path, stage, path, damage)


def test_pictures_of_a_damaged_prediction(healthy: Path, tmp_path: Path) -> None:
    history = "epoch,learning_rate,train_loss,train_accuracy,validation_loss,validation_accuracy\n1,0,1,1,1,1\n"
    for engine in MODELS:
        shutil.copytree(healthy, tmp_path, dirs_exist_ok=True)
        (tmp_path / f"plots/{engine}/history.csv").write_text(history)
    refusal(tmp_path, tmp_path / "copy", "plot", f"{PREDICTIONS}torch.npy", lambda content: content[:-1])


def scratch_model(network: str, state: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, network=np.array(network), **dict(state))  # type: ignore[arg-type]  # it takes keywords for arrays
    return buffer.getvalue()


def torch_model(network: object, state: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    tensors = OrderedDict((name, torch.from_numpy(array)) for name, array in state.items())
    tensors._metadata = {"": {"network": network}}  # type: ignore[attr-defined]  # torch's own way
    return saved(tensors)


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def rotten(content: bytes) -> bytes:
    """One wrong bit in the middle: the weights."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def compressed(content: bytes) -> bytes:
    """The same weights, packed as a bomb would be."""
    buffer = io.BytesIO()
    with np.load(io.BytesIO(content)) as file:
        np.savez_compressed(buffer, **file)
    return buffer.getvalue()


WIDER = ScratchClassifier([17], np.random.default_rng(0)).state_dict()
MODEL_DAMAGE: list[tuple[str, str, Damage | None]] = [
    *((engine, "missing", None) for engine in MODELS),
    *((engine, "empty", lambda _: b"") for engine in MODELS),
    *((engine, "truncated", cut) for engine in MODELS),
    *((engine, "a pickle", lambda _: pickle.dumps(Malicious())) for engine in MODELS),
    ("scratch", "rotten", rotten),
    ("scratch", "other layer sizes", lambda _: scratch_model('{"hidden": [16]}', WIDER)),
    ("torch", "other layer sizes", lambda _: torch_model({"hidden": [16]}, WIDER)),
    ("scratch", "layers too large for any memory", lambda _: scratch_model('{"hidden": [300000, 300000]}', WIDER)),
    ("torch", "layers too large for any memory", lambda _: torch_model({"hidden": [300000, 300000]}, WIDER)),
    ("scratch", "layers of a large memory", lambda _: scratch_model('{"hidden": [12000, 12000]}', WIDER)),
    ("torch", "layers of a large memory", lambda _: torch_model({"hidden": [12000, 12000]}, WIDER)),
    ("scratch", "compressed", compressed),
    ("scratch", "no layer sizes", lambda _: scratch_model("{}", WIDER)),
    ("torch", "no layer sizes", lambda _: torch_model({}, WIDER)),
    ("scratch", "layer sizes of another kind", lambda _: scratch_model('{"hidden": "many"}', WIDER)),
    ("torch", "layer sizes of another kind", lambda _: torch_model({"hidden": "many"}, WIDER)),
    ("scratch", "a pickle inside", lambda _: scratch_model('{"hidden": [16]}', {"1.weight": np.array(Malicious())})),
    ("torch", "a pickle inside", lambda _: saved(OrderedDict({"1.weight": Malicious()}))),
    ("scratch", "the other engine's", lambda _: TorchClassifier([16], np.random.default_rng(0)).to_bytes()),
    ("torch", "the other engine's", lambda _: ScratchClassifier([16], np.random.default_rng(0)).to_bytes()),
]


@pytest.mark.parametrize(
    ("engine", "damage"), [(e, d) for e, _, d in MODEL_DAMAGE], ids=[f"{e}: {n}" for e, n, _ in MODEL_DAMAGE]
)
def test_models(healthy: Path, tmp_path: Path, engine: str, damage: Damage | None) -> None:
    line = refusal(healthy, tmp_path, f"evaluate {engine}", MODELS[engine], damage)
    assert line.endswith(f"train it again with `dvc repro --force train_{engine}`" if damage else f"train_{engine}`")
    assert damage is None or "not a model of this network" in line
