"""Files are whole or absent, and their bytes depend on the content alone."""

import io
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from stages.pipeline.errors import PipelineError
from stages.pipeline.files import npz_bytes, write_bytes, write_csv, write_json, write_npy

WRITER = """
import sys
from pathlib import Path
from stages.pipeline.errors import PipelineError
from stages.pipeline.files import write_bytes
print("ready", flush=True)
for turn in range(10**9):
    write_bytes(Path(sys.argv[1]), bytes([turn % 2]) * 3_000_000)
"""


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03])
def test_a_writer_that_is_killed_leaves_a_whole_file(tmp_path: Path, delay: float) -> None:
    path = tmp_path / "folder" / "file"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while not path.exists():
            pass
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(delay)
        process.send_signal(signal.SIGKILL)
    content = path.read_bytes()
    assert len(content) == 3_000_000
    assert len(set(content)) == 1


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"loss": 0.5})
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(path, {"loss": float("nan")})
    with pytest.raises(TypeError):
        write_bytes(path, "text")  # type: ignore[arg-type]  # on purpose
    assert path.read_text() == '{\n  "loss": 0.5\n}\n'
    assert [each.name for each in tmp_path.iterdir()] == ["metrics.json"]


def test_a_reader_keeps_the_old_file_while_a_new_one_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "file"
    write_bytes(path, b"old")
    path.with_name(".file.partial").write_bytes(b"left by a killed process")
    with path.open("rb") as reader:
        write_bytes(path, b"newer")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"newer"
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_what_cannot_be_written_is_named_with_the_reason_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "full").mkdir(parents=True)
    for path, reason in ((tmp_path / "file" / "x" / "y", "Not a directory"), (tmp_path / "folder", "Is a directory")):
        with pytest.raises(PipelineError) as caught:
            write_bytes(path, b"content")
        assert str(caught.value) == f"{path}: cannot be written: {reason}; free disk space or fix the permissions"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_keeps_the_order_of_its_keys_and_refuses_what_is_no_number(tmp_path: Path, number: float) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"b": [0.1, 1], "a": {"d": None, "c": "ü"}})
    assert path.read_bytes() == (
        b'{\n  "b": [\n    0.1,\n    1\n  ],\n  "a": {\n    "d": null,\n    "c": "\\u00fc"\n  }\n}\n'
    )
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "other.json", {"a": [number]})
    assert [each.name for each in tmp_path.iterdir()] == ["file.json"]


def test_arrays_of_objects_which_would_be_pickled_are_refused(tmp_path: Path) -> None:
    objects = np.array([{}])
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        npz_bytes({"objects": objects})
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_npy(tmp_path / "objects.npy", objects)
    assert list(tmp_path.iterdir()) == []


def test_arrays_are_zipped_without_what_releases_of_python_do_differently() -> None:
    """Zip64 fields, of which some wrote more than others."""
    arrays = {"0.weight": np.eye(3, dtype=np.float32), "name": np.array("text")}
    content = npz_bytes(arrays)
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        assert {name: (array.dtype, array.tolist()) for name, array in file.items()} == {
            name: (array.dtype, array.tolist()) for name, array in arrays.items()
        }
        assert {(member.extract_version, member.extra, member.compress_type) for member in file.zip.infolist()} == {
            (zipfile.DEFAULT_VERSION, b"", zipfile.ZIP_STORED)
        }
        assert [(member.filename, member.date_time) for member in file.zip.infolist()] == [
            (f"{name}.npy", (1980, 1, 1, 0, 0, 0)) for name in arrays
        ]


def test_tables_and_arrays_read_back(tmp_path: Path) -> None:
    write_csv(tmp_path / "table.csv", ("epoch", "loss"), [(1, 0.5), (2, 0.25)])
    assert (tmp_path / "table.csv").read_text() == "epoch,loss\n1,0.5\n2,0.25\n"
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_npy(tmp_path / "array.npy", array)
    assert (np.load(tmp_path / "array.npy") == array).all()
