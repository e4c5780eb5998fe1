"""make where people have it: its old releases, hostile environments, archives without git, Windows' line endings."""

import os
import re
import shutil
from pathlib import Path

import pytest

from stages.tools.preflight import in_git
from tests.imports import ROOT
from tests.project import GIT, Project, stages_run

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
HOSTILE = "import sys\nsys.exit('not the project\\'s own')\n"
CONFIG = ".dvc/config.local"


def test_each_recipe_line_begins_with_a_path_because_make_3_81_searches_none_that_it_exports() -> None:
    """Such is the make of every Mac; it finds only what the user's own PATH has, as Python for the installation."""
    lines = re.findall(r"^\t@?(.+)$", re.sub(r"\\\n", "", MAKEFILE), re.MULTILINE)
    assert len(lines) > 20
    either = "$(or $(wildcard .venv/bin/python),$(PYTHON))"
    first_words = {line.replace(either, "$(PYTHON)").split()[0] for line in lines}
    assert first_words == {".venv/bin/python", "$(PYTHON)", "$(PIP)", "touch"}
    assert re.findall(r"^PIP = (\S+)", MAKEFILE, re.MULTILINE) == [".venv/bin/python"]


def test_the_makefile_needs_nothing_newer_than_make_3_81() -> None:
    newer = r"\.ONESHELL|\$\((file|guile|let|intcmp)\b|(::|:::|!)=|^undefine|^private|&:"
    assert not re.search(newer, MAKEFILE, re.MULTILINE)


@pytest.fixture
def unusual(finished: Project, tmp_path: Path) -> Project:
    """The finished project in a folder with blanks and an umlaut, installed."""
    project = finished.copy(tmp_path / "Größe und so" / "a project")
    project.install()
    return project


def hostile_environment(folder: Path) -> dict[str, str]:
    """Another environment is active, and other packages of the same names come first."""
    (folder / "bin").mkdir(parents=True)
    for name in ("python", "python3", "dvc", "ruff", "mypy", "pytest"):
        (folder / "bin" / name).write_text("#!/bin/sh\necho not the project\\'s own >&2\nexit 1\n")
        (folder / "bin" / name).chmod(0o755)
    for name in ("numpy", "stages", "dvc", "sitecustomize"):
        (folder / f"{name}.py").write_text(HOSTILE)
    return {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.defpath}",
        **dict.fromkeys(("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH"), str(folder)),
        **dict.fromkeys(("PYTHONSAFEPATH", "PYTHONOPTIMIZE"), "1"),
        "CPU": "x86_64",  # as some systems set it
        "SHELL": "/bin/false",  # as that of users who may not log in
        **dict.fromkeys(("GIT_DIR", "GIT_WORK_TREE"), str(folder)),  # as in a hook of git
    }


@pytest.mark.slow
def test_make_works_in_any_folder_whatever_else_is_active(unusual: Project, tmp_path: Path) -> None:
    environment = hostile_environment(tmp_path / "other")
    beside = Project(tmp_path)
    output = beside.run("make", "-C", str(unusual.folder), environment=environment).stdout
    assert "results identical to the committed ones\n" in output
    model = unusual.folder / "models/scratch/model.npz"
    model.unlink()
    unusual.run("make", "scratch", environment=environment)
    assert model.exists()
    unusual.run("make", "plots", environment=environment)
    assert (unusual.folder / "dvc_plots/index.html").exists()
    assert "the gate is open" in unusual.run("make", "gate", environment=environment).stdout


@pytest.mark.slow
@pytest.mark.parametrize("surroundings", ["nothing", "a repository", "a repository that ignores it"])
def test_an_unpacked_archive_works_without_git_and_becomes_a_repository(unusual: Project, surroundings: str) -> None:
    shutil.rmtree(unusual.folder / ".git")
    (unusual.folder / CONFIG).write_text("['remote \"storage\"']\n    url = /somewhere\n")
    if surroundings != "nothing":
        outer = Project(unusual.folder.parent)
        outer.run(*GIT, "init", "--quiet")
        (outer.folder / ".gitignore").write_text("*" if "ignores" in surroundings else "*.md")
    with (unusual.folder / "stages/compare.py").open("a") as file:
        file.write("# changed\n")  # a stage has to run
    output = unusual.run("make").stdout
    assert output.startswith("note: no git repository here")
    assert stages_run(output) == ["compare"]
    assert output.splitlines()[-1].startswith("no committed results to compare with: ")
    unusual.run("make", "plots")
    unusual.run(*GIT, "init", "--quiet")
    unusual.run("make")
    unusual.commit("Everything")
    assert unusual.run("make").stdout.endswith("\nresults identical to the committed ones\n")
    assert "no_scm" not in unusual.read(CONFIG).decode()
    assert "/somewhere" in unusual.dvc("remote", "list")


@pytest.mark.slow
def test_a_stage_that_make_scratch_does_not_run_says_what_is_not_installed(project: Project, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('No module named torch', name='torch')")
    command = ("dvc", "repro", "--force", "--single-item", "train_torch")
    output = project.run(*command, check=False, environment={"PYTHONPATH": str(tmp_path)}).stdout
    assert "\nerror: torch is not installed; `make` installs it, `make scratch` does without\n" in output
    assert "Traceback" not in output


@pytest.mark.skipif(not in_git(ROOT), reason="an unpacked archive cannot be cloned")
def test_a_clone_with_windows_line_endings_has_the_same_bytes(tmp_path: Path) -> None:
    """DVC hashes them."""
    here = Project(ROOT)
    clones = [tmp_path / value for value in ("false", "true")]
    binary = {"new-images-idx3-ubyte": b"\0\r\n\n\r\n\0", "text": b"line\r\nline\r\n"}
    for folder in clones:
        here.run("git", "clone", "--quiet", "--config", f"core.autocrlf={folder.name}", str(ROOT), str(folder))
    plain, windows = (
        {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and ".git" not in path.parts
        }
        for folder in clones
    )
    assert len(plain) > 100
    assert windows == plain
    here = Project(clones[1])
    for name, content in binary.items():
        (here.folder / name).write_bytes(content)
    here.run(*GIT, "add", *binary)
    stored = {name: here.run("git", "cat-file", "-s", f":{name}").stdout.strip() for name in binary}
    assert stored == {"new-images-idx3-ubyte": "7", "text": "10"}
