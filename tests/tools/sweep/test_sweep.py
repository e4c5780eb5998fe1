"""`make sweep` on this machine and on real Ray clusters of several machines, which are processes on loopback."""

import json
import os
import re
import signal
from pathlib import Path

import psutil
import pytest

from tests.project import TIMEOUT, Project, line_of, wait_until
from tests.tools.cluster.clusters import started_cluster
from tests.tools.sweep.sweeps import COMMAND, EPOCHS, SWEEP, sweep, table, write_sweep

pytestmark = pytest.mark.slow

# Python runs it when it starts: it writes which process opens which file of test images.
WITNESS = """
import os, sys

def listen(event, arguments):
    if event == "open" and os.path.basename(str(arguments[0])).startswith(("t10k-", "test_")):
        with open(os.environ["OPENED"], "a") as file:
            print(*sys.orig_argv, file=file)

sys.addaudithook(listen)
"""
ROW = re.compile(r"^ *\d+  (?:complete|stopped|failed) ")


@pytest.fixture(scope="module")
def undisturbed(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The trials of SWEEP on this machine, one at a time."""
    project = finished.copy(tmp_path_factory.mktemp("undisturbed") / "project")
    project.set(EPOCHS)
    write_sweep(project, SWEEP.replace("parallel: 0", "parallel: 1"))
    sweep(project)
    return table(project)


def machines_of(output: str) -> set[str]:
    return {line.split()[-1] for line in output.splitlines() if ROW.match(line)}


def test_the_best_trial_becomes_an_experiment_that_trains_as_the_trial_did(searching: Project) -> None:
    output = sweep(searching)
    assert searching.status() == ""
    rows = table(searching)
    assert [row["state"] for row in rows] == ["complete"] * 5
    best = max(rows, key=lambda row: (float(row["seed_1"]) + float(row["seed_2"])) / 2)
    accuracy = float(best["seed_1"])
    assert f"validation accuracy {accuracy:.2%}, in models/scratch/model.npz" in output
    name = re.search(r"as the experiment (sweep-scratch-\w{6})", output)
    assert name
    shown = json.loads(searching.dvc("exp", "show", "--json"))
    (experiment,) = (row for entry in shown for row in entry.get("experiments") or [])
    assert experiment["name"] == name[1]
    changed = experiment["revs"][0]["data"]["params"]["params.yaml"]["data"]["scratch"]
    for key, value in json.loads(best["config"]).items():
        section, option = key.split(".")
        assert changed[section][option] == value
    (command,) = re.findall(r"^\$ (dvc exp run .*)$", output, re.MULTILINE)
    again = searching.run("sh", "-c", command).stdout
    assert "is cached - skipping run" in again or "didn't change, skipping" in again
    tested = experiment["revs"][0]["data"]["metrics"]["metrics/scratch.json"]["data"]["accuracy"]
    assert f"{name[1]}: accuracy {tested:.2%} on the test images" in output
    assert (searching.folder / "sweep/trials.png").stat().st_size > 1000


def test_one_trial_at_a_time_gives_the_same_search_again_and_after_a_crash(searching: Project) -> None:
    """With a sampler that learns, and ASHA; the command is killed in the middle of a later trial."""
    searching.set({"training.epochs": "8"})
    learning = SWEEP.replace("random", "tpe").replace("parallel: 0", "parallel: 1").replace("trials: 5", "trials: 8")
    write_sweep(searching, learning.replace("pruner: none", "pruner: asha").replace("seeds: 2", "seeds: 1"))
    sweep(searching)
    first = searching.read("sweep/trials.csv")
    assert {row["state"] for row in table(searching)} == {"complete", "stopped"}
    with searching.started(*COMMAND) as process:
        line_of(process, "    0  ")
        wait_until(lambda: any((searching.folder / "sweep/checkpoints").glob("*.checkpoint")), 60)
        process.kill()
    refused = sweep(searching, check=False)
    assert "error: sweep: holds a sweep that has not ended; RESUME=1 goes on with it" in refused
    resumed = sweep(searching, "--resume")
    assert not re.search(r"^ +0  (complete|stopped)", resumed.split("the best")[0], re.MULTILINE)
    assert re.search(r"^trial \d goes on after epoch \d, on ", resumed, re.MULTILINE)
    assert searching.read("sweep/trials.csv") == first


def test_a_finished_sweep_goes_on_with_more_trials(searching: Project, undisturbed: list[dict[str, str]]) -> None:
    """And does not run its best trial with what params.yaml has become meanwhile."""
    write_sweep(searching, SWEEP.replace("trials: 5", "trials: 4"))
    with searching.started(*COMMAND) as process:
        line_of(process, "    ")
        searching.set({"training.epochs": "79"})
        output = process.communicate(timeout=TIMEOUT)[0]
    assert output.splitlines()[-1].startswith("error: params.yaml or code is not what it was")
    write_sweep(searching, SWEEP)
    assert sweep(searching, "--resume", check=False).startswith(
        "error: sweep: RESUME=1 needs the sweep.yaml, params.yaml"
    )
    searching.set(EPOCHS)
    output = sweep(searching, "--resume")
    assert next(line.split()[0] for line in output.splitlines() if ROW.match(line)) == "4"
    assert table(searching) == undisturbed


def test_trials_on_two_machines_are_those_of_one_and_see_no_test_image(
    searching: Project, undisturbed: list[dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITNESS)
    environment = {"PYTHONPATH": str(tmp_path), "OPENED": str(tmp_path / "opened")}
    with started_cluster(2, env_vars=environment) as cluster:
        output = sweep(searching, "--address", cluster.address, environment=environment)
    assert table(searching) == undisturbed
    assert len(machines_of(output)) == 2
    opened_by = set((tmp_path / "opened").read_text().splitlines())
    assert any("stages.evaluate scratch" in command for command in opened_by), opened_by  # in the experiment
    assert not [each for each in opened_by if COMMAND[-1] in each or "/ray/" in each]  # /ray/: a worker


def test_a_lost_machine_and_a_killed_driver_lose_no_trial(
    searching: Project, undisturbed: list[dict[str, str]]
) -> None:
    """Three machines: one is lost in mid-trial, then the command is killed, and goes on."""
    with started_cluster(3) as cluster:
        with searching.started(*COMMAND, "--address", cluster.address) as process:
            wait_until(lambda: len(list((searching.folder / "sweep/checkpoints").glob("*.checkpoint"))) == 3, 120)
            cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
            line_of(process, "lost the worker of trial ")
            assert "goes on after epoch " in line_of(process, "trial ")
            line_of(process, "    ")
            os.kill(process.pid, signal.SIGKILL)
        output = sweep(searching, "--address", cluster.address, "--resume")
    assert "goes on after epoch " in output
    assert "lost the worker" not in output
    assert table(searching) == undisturbed


def test_a_cluster_may_get_its_machines_later(searching: Project, undisturbed: list[dict[str, str]]) -> None:
    write_sweep(searching, SWEEP.replace("trials: 5", "trials: 2"))
    with (
        started_cluster(0) as cluster,
        searching.started(*COMMAND, "--address", cluster.address) as process,
    ):
        line_of(process, "no machine has room for a trial now: waiting")
        cluster.add_node(num_cpus=1)
        line_of(process, "the best 2 of 2 trials")
        process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    assert table(searching) == undisturbed[:2]


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_stops_cleanly(searching: Project, undisturbed: list[dict[str, str]]) -> None:
    with searching.started(*COMMAND) as process:
        line_of(process, "    ")
        started = psutil.Process(process.pid).children(recursive=True)
        assert {"gcs_server", "raylet"} <= {each.name() for each in started}
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        output = process.communicate(timeout=60)[0]
    assert psutil.wait_procs(started, 30)[1] == []
    assert "stopped; make sweep RESUME=1 goes on" in output
    assert "Traceback" not in output
    sweep(searching, "--resume")
    assert table(searching) == undisturbed
