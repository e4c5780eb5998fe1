"""A full disk and folders that cannot be written to: one line, and the last good outputs stay as they were."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import Project, copy_project

pytestmark = pytest.mark.slow

# The first file that each stage writes, and the folder of its outputs in git (of fetch and preprocess: in DVC).
FIRST_OUTPUTS = {
    "fetch": "data/raw",
    "preprocess": "data/processed/train_images.npy",
    "train_torch": "plots/torch/history.csv",
    "train_scratch": "plots/scratch/history.csv",
    "evaluate@torch": "data/predictions/torch.npy",
    "evaluate@scratch": "data/predictions/scratch.npy",
    "compare": "metrics/comparison.json",
    "plot": "plots/images/curves.png",
}
COMMANDS = {stage: ["-m", f"stages.{stage.split('@')[0]}", *stage.split("@")[1:]] for stage in FIRST_OUTPUTS}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after its first `dvc repro`, committed."""
    project = copy_project(tmp_path_factory.mktemp("full_disk"))
    project.dvc("repro")
    project.commit("First run")
    return project


def errors(output: str) -> list[str]:
    """What the stage says, DVC's own lines apart."""
    assert "Traceback" not in output, output
    return re.findall(r"^error: .*$", output, re.MULTILINE)


def assert_kept(project: Project) -> None:
    """Everything in git is as it was committed, and nothing half-written lies beside it."""
    assert project.run("git", "status", "--porcelain", "--untracked-files=all").stdout == ""
    assert not [path for path in project.folder.rglob(".*.partial") if ".dvc" not in path.parts]


def limit(size: int) -> str:
    """What makes the system refuse to let a file of the stage grow beyond ``size``; PyTorch must have its scratch file.

    Python would install its bytecode cut off.
    """
    limited = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"
    return (
        "export PYTHONDONTWRITEBYTECODE=1\n"
        f'exec "$PYTHON" -c "{limited}; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])" "$@"'
    )


@pytest.mark.parametrize("stage", FIRST_OUTPUTS)
def test_a_full_disk_ends_a_stage_with_one_line_and_leaves_what_git_has(project: Project, stage: str) -> None:
    """Where no file may be larger than 64 bytes, every output is cut off in the middle."""
    before = project.made()
    limited = project.python(limit(64))
    result = project.run("dvc", "repro", "--force", "--single-item", stage, check=False, environment=limited)
    assert result.returncode != 0
    assert errors(result.stdout) == [
        f"error: {FIRST_OUTPUTS[stage]}: cannot be written: File too large; free the space or mend the rights"
    ]
    assert "exited with 1" in result.stdout
    assert_kept(project)
    project.dvc("repro")
    assert project.made() == before
    project.commit("The same again, with other timings")


def test_a_disk_that_is_full_by_the_time_weights_are_saved(project: Project) -> None:
    """The history of the epochs fits, what training stands at does not: no model, and no timing of one that is not."""
    limited = project.python(limit(4096))
    result = project.run("dvc", "repro", "--force", "--single-item", "train_scratch", check=False, environment=limited)
    assert errors(result.stdout) == [
        "error: models/scratch/.checkpoint.npz: cannot be written: File too large; free the space or mend the rights"
    ]
    assert not list((project.folder / "models/scratch").iterdir())
    assert_kept(project)
    project.dvc("checkout")


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


@pytest.mark.parametrize("stage", ["fetch", "preprocess", "evaluate@scratch", "compare", "plot"])
def test_a_disk_without_a_free_block_ends_a_stage_with_one_line(project: Project, stage: str, tmp_path: Path) -> None:
    """Training first removes its last model, and so has its space: above it meets a limit instead."""
    command = [*private_mounts(), "sh", "-c", ON_A_FULL_DISK, "sh", str(tmp_path), sys.executable, *COMMANDS[stage]]
    result = project.run(*command, check=False)
    assert result.stdout.splitlines() == [
        f"error: {FIRST_OUTPUTS[stage]}: cannot be written: No space left on device; free the space or mend the rights"
    ]
    assert result.returncode == 1


# Moves DVC's cache to a small file system of its own, fills that, runs a stage, frees the space and runs it again. In
# the end the stage's output comes back from the cache.
WITH_A_FULL_CACHE = """
stage=$1 output=$2
cp -r .dvc/cache "$3" && mount -t tmpfs -o size=16m none .dvc/cache && cp -r "$3"/cache/. .dvc/cache || exit 9
cat /dev/zero > .dvc/cache/filler 2> /dev/null
dvc repro "$stage"
echo "status $?"
git status --porcelain metrics plots
rm .dvc/cache/filler
dvc repro "$stage" && rm -r "$output" && dvc checkout "$output"
"""


@pytest.mark.parametrize(
    ("stage", "output", "change"),
    [
        ("preprocess", "data/processed", {"preprocess.validation_size": "50"}),
        ("train_scratch", "models/scratch/model.npz", {"train_scratch.learning_rate": "0.002"}),
    ],
)
def test_a_full_disk_under_dvcs_cache_is_said_and_mended_by_the_next_run(
    project: Project, stage: str, output: str, change: dict[str, str], tmp_path: Path
) -> None:
    """The stage has ended well by then. Of a folder DVC says so too, and yet ends with status 0."""
    command = [*private_mounts(), "sh", "-c", WITH_A_FULL_CACHE, "sh", stage, output, str(tmp_path)]
    project.set(change)
    try:
        full, mended = re.split(r"^status ", project.run(*command).stdout, flags=re.MULTILINE)
        made = project.made()
        assert "ERROR: failed to transfer" in full, full
        assert "No space left on device" in full, full
        assert "Traceback" not in full + mended, full + mended
        assert stage == "preprocess" or mended.startswith("255\n"), mended
        changed = re.findall(r"^ M (.*)$", mended.split("Running stage")[0].split("Stage '")[0], re.MULTILINE)
        assert set(changed) <= {"plots/scratch/history.csv", "metrics/timing_scratch.json"}
        project.dvc("repro", "--force", stage)
        assert project.made() == made
    finally:
        project.run("git", "checkout", "--quiet", ".")
        project.dvc("checkout")


@pytest.mark.parametrize("stage", FIRST_OUTPUTS)
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
        result = project.run("python", *COMMANDS[stage], check=False, environment=environment)
    finally:
        folder.chmod(0o755)
    assert result.returncode == 1
    assert errors(result.stdout) == [
        f"error: {FIRST_OUTPUTS[stage]}: cannot be written: Permission denied; free the space or mend the rights"
    ]
    assert_kept(project)
    project.dvc("checkout")


@pytest.mark.parametrize("stage", FIRST_OUTPUTS)
def test_a_folder_that_is_a_file_ends_a_stage_with_one_line(project: Project, stage: str) -> None:
    """What every system can refuse, whoever runs it. The file stays: it may be somebody's."""
    folder = (project.folder / FIRST_OUTPUTS[stage]).parent
    aside = project.folder / "aside"
    folder.rename(aside)
    folder.write_bytes(b"in the way")
    try:
        result = project.run(sys.executable, *COMMANDS[stage], check=False)
        assert folder.read_bytes() == b"in the way"
    finally:
        folder.unlink()
        aside.rename(folder)
    assert result.returncode == 1
    assert len(errors(result.stdout)) == 1
    assert len(result.stdout.splitlines()) == 1 or stage.startswith("train"), result.stdout
    assert_kept(project)
    project.dvc("checkout")
