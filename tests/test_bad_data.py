"""Damaged, wrong and malicious files in front of the real stages: one line that names the file, and nothing changed."""

import io
import json
import pickle
import shutil
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from stages.engines.config import NetworkConfig
from stages.engines.scratch_engine import ScratchClassifier
from tests.configs import make_config
from tests.malicious import Malicious
from tests.project import Project

pytestmark = pytest.mark.slow

RAW, PROCESSED, PREDICTIONS = "data/raw/", "data/processed/", "data/predictions/"
MODELS = {"torch": "models/torch/mnist_model.pth", "scratch": "models/scratch/model.npz"}
Damage = Callable[[bytes], bytes]


@pytest.fixture
def folder(finished: Project, tmp_path: Path) -> Project:
    """The finished project without git and DVC: its config and its outputs."""
    shutil.copytree(
        finished.folder, tmp_path / "project", ignore=shutil.ignore_patterns(".git", ".dvc", "tests", ".venv")
    )
    return Project(tmp_path / "project")


def refusal(project: Project, stage: str, path: str, damage: Damage | None) -> str:
    """The one line with which ``stage`` refuses a damaged (or, without damage, missing) ``path``, changing nothing."""
    if damage:
        (project.folder / path).write_bytes(damage(project.read(path)))
    else:
        (project.folder / path).unlink()
    before = {path: path.read_bytes() for path in project.folder.rglob("*") if path.is_file()}
    done = project.run(sys.executable, "-m", *f"stages.{stage}".split(), check=False)
    assert done.returncode == 1, done.stdout
    assert {path: path.read_bytes() for path in project.folder.rglob("*") if path.is_file()} == before
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"error: {path}: ")
    assert len(line) < 500
    return line


def header(shape: tuple[int, ...]) -> Damage:
    """Another shape in an IDX file's header."""
    return lambda content: content[:4] + struct.pack(f">{len(shape)}I", *shape) + content[4 + 4 * len(shape) :]


RAW_DAMAGE: list[tuple[str, Damage, str]] = [
    (TRAIN_IMAGES, lambda content: content[:2] + b"\x08\x01" + content[4:], "magic number 00000803 expected, 00000801"),
    (TEST_IMAGES, header((200, 56, 14)), "images of 28 x 28 expected, 56 x 14 found"),
    (TEST_IMAGES, lambda content: content[:-1], "truncated: 156816 bytes expected, 156815 found"),
    (TEST_IMAGES, lambda content: content[:16] + bytes(len(content) - 16), "blank: every pixel is 0"),
    (
        TRAIN_IMAGES,
        header((2**32 - 1, 2**32 - 1, 2**32 - 1)),
        "truncated: 79228162458924105385300197391 bytes expected",
    ),
    (TRAIN_LABELS, lambda content: content[:-1] + b"\x0a", "labels 0 to 9 expected, 10 found"),
    (TRAIN_LABELS, lambda content: header((399,))(content)[:-1], "400 labels expected, one per image, 399 found"),
    (TEST_LABELS, lambda _: b"", "magic number 00000801 expected, nothing found"),
]


@pytest.mark.parametrize(("name", "damage", "message"), RAW_DAMAGE, ids=[message for _, _, message in RAW_DAMAGE])
def test_raw_images_and_labels(folder: Project, name: str, damage: Damage, message: str) -> None:
    line = refusal(folder, "preprocess", RAW + name, damage)
    assert message in line
    assert "; fetch it again with `dvc repro --force --single-item fetch" in line


def npy(array: object) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array), (1, 0))
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
    "empty": (lambda _: b"", "No data left in file"),
    "text": (lambda _: b"<html>Please log in</html>", "pickled (object) data"),
    "truncated": (lambda content: content[:-1], "could only read"),
    "half a header": (lambda content: content[:64], "reading array header, expected 118 bytes got 54"),
    "wrong type": (as_array(lambda array: array.astype(np.float64)), "expected float32 (N, "),
    "wrong byte order": (as_array(lambda array: array.astype(">f4")), "expected float32 (N, "),
    "wrong shape": (as_array(lambda array: array[:, 1:]), "expected float32 (N, "),
    "nothing in it": (as_array(lambda array: array[:0]), "expected float32 (N, "),
    "transposed": (as_array(np.asfortranarray), "expected float32 (N, "),
    "pickled objects": (lambda _: npy(np.array([Malicious(Path("trace"))])), "Object arrays cannot be loaded"),
    "a pickle": (lambda _: pickle.dumps(Malicious(Path("trace"))), "pickled (object) data"),
    "a .npz": (npz, "not an .npy file"),
    "huge": (declaring("(10000000000, 28, 28)"), ""),
    "huger than any memory": (declaring(f"({10**30},)"), ""),
    "negative": (declaring("(-1, 28, 28)"), ""),
    "code": (declaring("(open('trace', 'w'),)"), "malformed node"),
    "not finite": (as_array(infinite), ""),
}
IMAGES = ("train scratch", f"{PROCESSED}validation_images.npy", "preprocess")
ROWS = ("compare", f"{PREDICTIONS}scratch.npy", "evaluate@scratch")  # read by the same function: the rest is the same


@pytest.mark.parametrize(
    ("stage", "path", "maker", "kind"),
    [*((*IMAGES, kind) for kind in ARRAY_DAMAGE), *((*ROWS, kind) for kind in ("missing", "truncated", "not finite"))],
)
def test_arrays(folder: Project, stage: str, path: str, maker: str, kind: str) -> None:
    damage, message = ARRAY_DAMAGE[kind]
    line = refusal(folder, stage, path, damage)
    assert message in line
    assert line.endswith(f"; make it again with `dvc repro --force --single-item {maker}`")


TEST_LABELS_NPY, TORCH_ROWS = f"{PROCESSED}test_labels.npy", f"{PREDICTIONS}torch.npy"


@pytest.mark.parametrize(
    ("stage", "path", "damage", "message"),
    [
        ("evaluate scratch", TEST_LABELS_NPY, as_array(lambda labels: labels + 1), "labels must be 0 to 9"),
        ("evaluate scratch", TEST_LABELS_NPY, as_array(lambda labels: labels[1:]), "199 labels for 200"),
        ("compare", TORCH_ROWS, as_array(lambda rows: rows[1:]), "expected shape (200, 10), found (199"),
        ("compare", TORCH_ROWS, as_array(lambda rows: rows * 2), "probabilities that sum to 1"),
        ("compare", TORCH_ROWS, as_array(lambda rows: -rows), "probabilities that sum to 1"),
        ("plot", TORCH_ROWS, lambda content: content[:-1], "could only read"),
        ("plot", "data/filters/torch.npy", as_array(lambda filters: filters[0]), "expected float32 (N, any, any)"),
        ("plot", "data/filters/torch.npy", as_array(lambda filters: filters * np.nan), "finite"),
        ("plot", "plots/parity.csv", lambda content: content[:10], "missing or damaged"),
        ("plot", f"{PROCESSED}standardization.json", lambda content: content[:10], "damaged"),
    ],
)
def test_wrong_contents(folder: Project, stage: str, path: str, damage: Damage, message: str) -> None:
    assert message in refusal(folder, stage, path, damage)


def scratch_model(network: str, state: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"network": np.array(network), "pixel_mean": np.array(0.1), "pixel_std": np.array(0.3)}
    arrays |= state
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def torch_model(network: object, state: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    tensors = OrderedDict((name, torch.from_numpy(array)) for name, array in state.items())
    metadata = {"network": network, "pixel_mean": 0.1, "pixel_std": 0.3}
    tensors._metadata = {"": metadata}  # type: ignore[attr-defined]  # torch's own way
    return saved(tensors)


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def one_wrong_bit(content: bytes) -> bytes:
    """One wrong bit in the middle: the weights."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def compressed(content: bytes) -> bytes:
    """The same weights, packed as a bomb would be."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as file, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in file.namelist():
            packed.writestr(name, file.read(name))
    return buffer.getvalue()


WIDER = ScratchClassifier(make_config(hidden_sizes=[17])).state_dict()


def described(**changes: object) -> dict[str, Damage]:
    """Each engine's model with another description of its network than its weights have."""
    network = NetworkConfig().model_dump() | changes
    return {
        "scratch": lambda _: scratch_model(json.dumps(network), WIDER),
        "torch": lambda _: torch_model(network, WIDER),
    }


RESIZED, ENORMOUS = described(hidden_sizes=[16]), described(hidden_sizes=[10_000] * 20)
MODEL_DAMAGE: list[tuple[str, str, Damage | None, str]] = [
    ("scratch", "missing", None, "missing"),
    ("scratch", "empty", lambda _: b"", "No data left in file"),
    *((engine, "truncated", cut, "") for engine in MODELS),
    ("scratch", "a pickle", lambda _: pickle.dumps(Malicious(Path("trace"))), "pickled (object) data"),
    ("torch", "a pickle", lambda _: pickle.dumps(Malicious(Path("trace"))), "not a zip file"),
    ("scratch", "one wrong bit", one_wrong_bit, "Bad CRC-32"),
    *((engine, "compressed", compressed, "compressed") for engine in MODELS),
    *((engine, "other layer sizes", RESIZED[engine], "do not fit") for engine in MODELS),
    *((engine, "layers too large for any memory", ENORMOUS[engine], "do not fit") for engine in MODELS),
    ("scratch", "layer sizes of another kind", described(hidden_sizes="many")["scratch"], "validation error"),
    ("torch", "no description", lambda _: torch_model("", WIDER), "validation error"),
    (
        "scratch",
        "a pickle inside",
        lambda _: scratch_model("{}", {"1": np.array(Malicious(Path("trace")))}),
        "Object arrays",
    ),
    (
        "torch",
        "a pickle inside",
        lambda _: saved({"1.weight": Malicious(Path("trace"))}),
        "something other than weights",
    ),
    ("scratch", "the other engine's", lambda _: torch_model({}, WIDER), "network"),
    ("torch", "the other engine's", lambda _: scratch_model("{}", WIDER), ""),
]


@pytest.mark.parametrize(
    ("engine", "damage", "message"),
    [(engine, damage, message) for engine, _, damage, message in MODEL_DAMAGE],
    ids=[f"{engine}: {name}" for engine, name, *_ in MODEL_DAMAGE],
)
def test_models(folder: Project, engine: str, damage: Damage | None, message: str) -> None:
    line = refusal(folder, f"evaluate {engine}", MODELS[engine], damage)
    assert message in line
    assert damage is None or "not a model of this network" in line
    assert line.endswith(f"train it again with `dvc repro --force train_{engine}`" if damage else f"train_{engine}`")
