"""A full disk and folders that cannot be written to: one line, and the last good outputs stay as they were."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import Project

pytestmark = pytest.mark.slow

FIRST_OUTPUTS = {  # of each stage
    "fetch": "data/raw",
    "preprocess": "data/processed/train_images.npy",
    "train torch": "plots/torch/history.csv",
    "train scratch": "plots/scratch/history.csv",
    "evaluate torch": "data/predictions/torch.npy",
    "evaluate scratch": "data/predictions/scratch.npy",
    "compare": "metrics/comparison.json",
    "parity": "plots/parity.csv",
    "plot": "plots/images/curves.png",
}
WRITERS = ("fetch", "preprocess", "train scratch", "evaluate scratch")  # a kind of output each


def assert_refused(project: Project, stage: str, output: str, reason: str) -> None:
    """The stage ended with the one line; what it would have written is as it was committed; nothing half-written."""
    assert "Traceback" not in output
    message = f"error: {FIRST_OUTPUTS[stage]}: cannot be written: {reason}; free disk space or fix the permissions"
    assert re.findall(r"^error: .*$", output, re.MULTILINE) == [message]
    assert project.status() == ""
    assert not [path for path in project.folder.rglob(".*.partial") if ".dvc" not in path.parts]


def limit(size: int) -> str:
    """What makes the system refuse to let a file of the stage grow beyond ``size``.

    Python would install its bytecode cut off.
    """
    limited = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"
    return (
        "export PYTHONDONTWRITEBYTECODE=1\n"
        f'exec "$PYTHON" -c "{limited}; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])" "$@"'
    )


@pytest.mark.parametrize("stage", FIRST_OUTPUTS)
def test_a_full_disk_ends_a_stage_with_one_line_and_leaves_the_last_outputs(project: Project, stage: str) -> None:
    """Where no file may be larger than 64 bytes, every output is cut off in the middle."""
    before = project.outputs()
    limited = project.python(limit(64))
    result = project.run("python", "-m", *f"stages.{stage}".split(), check=False, environment=limited)
    assert result.returncode == 1
    assert_refused(project, stage, result.stdout, "File too large")
    assert project.outputs() == before


def test_a_full_disk_fails_dvc_repro_and_the_next_one_brings_everything_back(project: Project) -> None:
    """The history of the epochs fits, the checkpoint does not: no model."""
    before = project.outputs()
    limited = project.python(limit(4096))
    result = project.run("dvc", "repro", "--force", "--single-item", "train_scratch", check=False, environment=limited)
    assert result.returncode != 0
    assert "exited with 1" in result.stdout
    reason = "cannot be written: File too large; free disk space or fix the permissions"
    assert re.findall(r"^error: (.*)$", result.stdout, re.MULTILINE) == [f"models/scratch/.checkpoint.npz: {reason}"]
    assert not list((project.folder / "models/scratch").iterdir())
    project.dvc("repro")
    assert project.outputs() == before
    assert project.status() == ""


def private_mounts() -> list[str]:
    """The command under which mounts are seen by nobody else; skips the test where the system allows none."""
    for command in (["unshare", "--mount"], ["unshare", "--mount", "--map-root-user"]):
        if shutil.which("unshare"):
            trial = [*command, "sh", "-c", "mount -t tmpfs none /mnt"]
            if subprocess.run(trial, capture_output=True).returncode == 0:
                return command
    pytest.skip("this system allows no mounts here; that a stage meets a limit of size is tested all the same")


# Copies the project to a small file system of its own, fills that, runs a stage and says which files have changed.
ON_A_FULL_DISK = """
set -e
folder=$1 && shift
mount -t tmpfs -o size=8m none "$folder"
cp -r stages params.yaml data models metrics plots "$folder"
original=$PWD && cd "$folder"
cat /dev/zero > filler 2> /dev/null || true
PYTHONDONTWRITEBYTECODE=1 "$@" && status=0 || status=$?
diff -r "$original/data" data && diff -r "$original/metrics" metrics && diff -r "$original/plots" plots || status=9
exit $status
"""


@pytest.mark.parametrize("stage", ["fetch", "preprocess", "evaluate scratch"])
def test_a_disk_without_a_free_block_ends_a_stage_with_one_line(project: Project, stage: str, tmp_path: Path) -> None:
    """What a stage says before it writes is not an error."""
    (tmp_path / "small").mkdir()
    command = [
        "sh",
        "-c",
        ON_A_FULL_DISK,
        "sh",
        str(tmp_path / "small"),
        sys.executable,
        "-m",
        *f"stages.{stage}".split(),
    ]
    result = project.run(*private_mounts(), *command, check=False)
    assert_refused(project, stage, result.stdout, "No space left on device")
    assert result.returncode == 1


# Moves DVC's cache to a small file system of its own, fills that, runs a stage, frees the space and runs it again. In
# the end the stage's output comes back from the cache.
WITH_A_FULL_CACHE = """
stage=$1 output=$2
cp -r .dvc/cache "$3" && mount -t tmpfs -o size=16m none .dvc/cache && cp -r "$3"/cache/. .dvc/cache || exit 9
cat /dev/zero > .dvc/cache/filler 2> /dev/null
dvc repro "$stage"
echo "status $?"
rm .dvc/cache/filler
dvc repro "$stage" && rm -r "$output" && dvc checkout "$output"
"""


@pytest.mark.parametrize(
    ("stage", "output", "change"),
    [
        ("preprocess", "data/processed", {"preprocess.validation_size": "50"}),
        ("train_scratch", "models/scratch/model.npz", {"optimizer.learning_rate": "0.002"}),
    ],
)
def test_a_full_disk_under_dvcs_cache_is_said_and_the_next_run_recovers(
    project: Project, stage: str, output: str, change: dict[str, str], tmp_path: Path
) -> None:
    """The stage has ended well by then."""
    (tmp_path / "copy").mkdir()
    command = [*private_mounts(), "sh", "-c", WITH_A_FULL_CACHE, "sh", stage, output, str(tmp_path / "copy")]
    project.set(change)
    full, recovered = re.split(r"^status ", project.run(*command).stdout, flags=re.MULTILINE)
    outputs = project.outputs()
    assert re.search("^ERROR: failed to .*No space left on device", full, re.MULTILINE | re.DOTALL), full
    assert "Traceback" not in full + recovered, full + recovered
    assert recovered.startswith("255\n"), recovered
    project.dvc("repro", "--force", stage)
    assert project.outputs() == outputs


@pytest.mark.parametrize("stage", WRITERS)
def test_a_read_only_folder_ends_a_stage_with_one_line(project: Project, stage: str) -> None:
    """Root may write everywhere, unless it runs without that capability."""
    folder = (project.folder / FIRST_OUTPUTS[stage]).parent
    unprivileged = ""
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root ignores permissions here; test_a_folder_that_is_a_file covers the same")
        unprivileged = "setpriv --bounding-set -dac_override,-dac_read_search "
    environment = project.python(f'exec {unprivileged}"$PYTHON" "$@"')
    folder.chmod(0o555)
    try:
        result = project.run("python", "-m", *f"stages.{stage}".split(), check=False, environment=environment)
    finally:
        folder.chmod(0o755)
    assert result.returncode == 1
    assert_refused(project, stage, result.stdout, "Permission denied")


@pytest.mark.parametrize("stage", WRITERS)
def test_a_folder_that_is_a_file_ends_a_stage_with_one_line(project: Project, stage: str) -> None:
    """What every system can refuse, whoever runs it. The file stays: it may be somebody's."""
    folder = (project.folder / FIRST_OUTPUTS[stage]).parent
    aside = project.folder / "aside"
    folder.rename(aside)
    folder.write_bytes(b"in the way")
    try:
        result = project.run(sys.executable, "-m", *f"stages.{stage}".split(), check=False)
        assert folder.read_bytes() == b"in the way"
    finally:
        folder.unlink()
        aside.rename(folder)
    assert result.returncode == 1
    assert len(re.findall(r"^error: .*$", result.stdout, re.MULTILINE)) == 1
    assert project.status() == ""
