"""What may be wrong with a cluster, an address or a trial: one line each, and the sweep goes on where it can."""

import json
import re
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from threading import Thread

import pytest

from tests.project import Project
from tests.tools.cluster.clusters import started_cluster
from tests.tools.sweep.sweeps import SWEEP, sweep, table, write_sweep

pytestmark = pytest.mark.slow


def test_machines_that_would_give_other_bytes_are_named(searching: Project, tmp_path: Path) -> None:
    """One has another NumPy, as its package's metadata say, and another Python, as its start-up file says."""
    (tmp_path / "sitecustomize.py").write_text(
        "import platform\nplatform.python_version_tuple = lambda: '3.9.1'.split('.')"
    )
    (tmp_path / "numpy-1.0.dist-info").mkdir()
    (tmp_path / "numpy-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.0\n")
    with started_cluster(2, env_vars={"PYTHONPATH": str(tmp_path)}) as cluster:
        output = sweep(searching, "--address", cluster.address, check=False)
    assert re.findall("^error: .*", output, re.MULTILINE) == [output.splitlines()[-1]]
    expected = r"error: the machine [\d.]+/\w{6} differs: Python is 3.9, must be [\d.]+, numpy is 1.0, must be [\d.]+$"
    assert re.search(expected, output, re.MULTILINE)
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "error: no Ray cluster answers at 127.0.0.1:1: "),
        ("ray://127.0.0.1:1", "error: no Ray cluster answers at ray://127.0.0.1:1: "),
        ("nowhere", "error: ADDRESS: must be HOST:PORT, ray://HOST:PORT or auto, got 'nowhere'"),
    ],
)
def test_an_address_without_a_cluster_is_one_line(searching: Project, address: str, message: str) -> None:
    output = sweep(searching, "--address", address, check=False)
    assert output.startswith(message)
    assert len(output.splitlines()) == 1


def test_an_address_of_something_else_is_one_line(searching: Project) -> None:
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        output = sweep(searching, "--address", address, check=False)
        server.shutdown()
    assert output == f"error: no Ray cluster answers at {address}: something else listens there\n"


def test_a_trial_that_diverges_or_cannot_be_built_fails_alone(searching: Project) -> None:
    space = "  optimizer.learning_rate: [0.01, 1.0e+9]\n  network.channels: [[], [8, 8, 8]]\n"
    write_sweep(searching, SWEEP[: SWEEP.index("  optimizer")].replace("trials: 5", "trials: 12") + space)
    output = sweep(searching)
    rows = table(searching)
    assert {row["state"] for row in rows} == {"complete", "failed"}
    assert "training diverged" in output
    assert "are too small for kernels of 5x5" in output
    assert all(
        json.loads(row["config"])["optimizer.learning_rate"] == 0.01 for row in rows if row["state"] == "complete"
    )


def test_time_is_up(searching: Project) -> None:
    searching.set({"training.epochs": "10000"})
    write_sweep(searching, SWEEP.replace("minutes: 0", "minutes: 0.1"))
    output = sweep(searching, check=False)
    assert "time is up after 0.1 minutes" in output
    assert output.splitlines()[-1] == "error: no trial ran to its end: sweep/trials.csv has them all"


def test_what_no_machine_has_room_for_fails(searching: Project) -> None:
    head = SWEEP[: SWEEP.index("  optimizer")].replace("seeds: 2", "seeds: 1")
    message = "no machine has 64 CPU cores, which a training takes: lower threads, or use another device"
    write_sweep(searching, head + "  scratch.threads: [64]\n")
    assert sweep(searching, check=False) == f"error: {message}\n"
    write_sweep(searching, head + "  scratch.threads: [1, 64]\n")
    assert message in sweep(searching)
    outcomes = {(row["state"], row["config"]) for row in table(searching)}
    assert outcomes == {("complete", '{"threads": 1}'), ("failed", '{"threads": 64}')}
    assert {row["reason"] for row in table(searching)} == {"", message}
