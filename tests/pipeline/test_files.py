"""Files are whole or absent, and their bytes depend on the content alone."""

import io
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from stages.pipeline.files import npz_bytes, write_bytes, write_csv, write_json, write_npy

WRITER = """
import sys
from pathlib import Path
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


def test_tables_and_arrays_read_back(tmp_path: Path) -> None:
    write_csv(tmp_path / "table.csv", ("epoch", "loss"), [(1, 0.5), (2, 0.25)])
    assert (tmp_path / "table.csv").read_text() == "epoch,loss\n1,0.5\n2,0.25\n"
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_npy(tmp_path / "array.npy", array)
    assert (np.load(tmp_path / "array.npy") == array).all()
