"""What make needs and lacks, each in one line with the way out, before the first download."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from stages.tools import preflight
from tests.imports import ROOT

SCRIPT = ROOT / "stages/tools/preflight.py"
# Runs the script as on another machine; read and imported first, because another user may not be able to.
ELSEWHERE = """
import collections, contextlib, os, pathlib, platform, re, shlex, shutil, subprocess, sys, tempfile
with open({!r}) as file:
    code = file.read()
{}
exec(code, {{"__name__": "__main__"}})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An unpacked archive, as far as this needs it."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / ".dvc").mkdir()
    return tmp_path


def lines(folder: Path, what: str = "", elsewhere: str = "", **options: object) -> tuple[int, list[str]]:
    """Exit status and lines of the script."""
    command = [sys.executable, "-c", ELSEWHERE.format(str(SCRIPT), elsewhere), *([what] if what else [])]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, **options)  # type: ignore[call-overload]  # of subprocess.run
    return done.returncode, (done.stderr + done.stdout).splitlines()


def test_an_old_python_can_say_that_it_is_too_old() -> None:
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 6))
    imported = [line.split()[1] for line in SCRIPT.read_text(encoding="utf-8").splitlines() if "import " in line]
    assert {name.split(".")[0] for name in imported if name != "run"} <= sys.stdlib_module_names


VERSION = "sys.version_info = (3, {}, 1, 'final', 0); platform.python_version = lambda: '3.{}.1'"
FREE = "shutil.disk_usage = lambda folder: collections.namedtuple('Usage', 'free')({}e9)"
MACHINE = "platform.system, platform.machine = lambda: '{}', lambda: '{}'"
LACKS = {
    "an old Python": ("all", VERSION.format(9, 9), "is needed, and this is CPython 3.9.1: make PYTHON=python3.X"),
    "a Python too new": (
        "scratch",
        VERSION.format(15, 15),
        "Python 3.11 to 3.14 is needed, and this is CPython 3.15.1",
    ),
    "no ensurepip": (
        "all",
        "sys.modules['ensurepip'] = None",
        "Python's module ensurepip is missing: apt install pyth",
    ),
    "an Intel Mac": (
        "all",
        MACHINE.format("Darwin", "x86_64"),
        "PyTorch has no package for Darwin-x86_64: make scratch",
    ),
    "a full disk": ("scratch", FREE.format(1), "1.0 GB free, 1.8 needed; less for make CPU=1 (on Linux), least for"),
    "Windows": ("", "sys.platform = 'win32'", "Windows itself is not supported: use WSL, https://"),
}


@pytest.mark.parametrize("lack", LACKS)
def test_what_is_missing_is_said_in_one_line(folder: Path, lack: str) -> None:
    what, elsewhere, message = LACKS[lack]
    status, output = lines(folder, what, elsewhere)
    assert status == 1
    assert len(output) == 1
    assert output[0].startswith("error: ")
    assert message in output[0]


@pytest.mark.parametrize(
    ("what", "elsewhere"),
    [
        ("scratch", MACHINE.format("Darwin", "x86_64")),
        ("scratch", FREE.format(2)),
        ("cpu", FREE.format(3.9)),
        ("all", f"{FREE.format(3.9)}; {MACHINE.format('Darwin', 'arm64')}"),
        ("all", FREE.format(10.4)),
    ],
)
def test_what_suffices_is_let_through(folder: Path, what: str, elsewhere: str) -> None:
    """Without git, too, where only a note says what does not work then."""
    status, output = lines(folder, what, elsewhere)
    assert status == 0
    assert len(output) == 1
    assert output[0].startswith("note: no git repository here")


def test_a_stage_says_that_windows_is_not_supported() -> None:
    code = "import sys; sys.platform = 'win32'; import stages.fetch"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: Windows itself is not supported: use WSL")
    assert done.stderr.count("\n") == 1


def test_git_that_is_missing_or_refuses_the_folder_is_explained(folder: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    assert lines(folder) == (0, [])
    (status, (line,)) = lines(folder, env={"PATH": str(folder)})
    assert (status, line[:23]) == (1, "error: git is missing: ")
    (folder / ".git/HEAD").write_text("damaged")
    (status, (line,)) = lines(folder)
    assert (status, line[:43]) == (1, "error: git cannot read this repository: fat")


def test_git_is_explained_in_a_folder_of_a_larger_repository_too(folder: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    inner = folder / "project"
    (inner / ".dvc").mkdir(parents=True)
    (status, (line,)) = lines(inner, env={**os.environ, "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"})
    trust = f"error: git trusts no folder of another user: git config --global --add safe.directory {folder}"
    assert (status, line) == (1, trust)
    (status, (line,)) = lines(inner, env={"PATH": str(folder)})
    assert (status, line[:23]) == (1, "error: git is missing: ")
    assert not (inner / ".dvc/config.local").exists()


def test_packages_that_are_there_need_no_more_space(folder: Path) -> None:
    full = FREE.format(0.1)
    assert lines(folder, "all", full)[0] == 1
    (folder / ".venv/lib/python3.11/site-packages/torch").mkdir(parents=True)
    assert lines(folder, "all", full)[0] == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_another_user_is_explained(folder: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    for path in (folder, *folder.parents):
        if path.owner() == "root" and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    environment = {**os.environ, "HOME": "/nonexistent"}
    status, output = lines(folder, elsewhere="os.setgroups([]); os.setgid(65534); os.setuid(65534)", env=environment)
    assert status == 1
    assert output == [
        f"error: {folder}: no permission to write: copy the project into a folder of your own",
        f"error: git trusts no folder of another user: git config --global --add safe.directory {folder}",
    ]


def test_a_venv_whose_python_is_gone_is_explained(folder: Path) -> None:
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/python").symlink_to("/nonexistent/python3")
    assert lines(folder) == (
        1,
        ["error: the Python that .venv was made with is gone: rm -r .venv, then the same again"],
    )


def test_cpu_says_that_it_does_not_replace_what_is_installed_with_cuda(folder: Path) -> None:
    assert len(lines(folder, env={**os.environ, "CPU": "1"})[1]) == 1
    (folder / ".venv/lib/python3.11/site-packages/nvidia").mkdir(parents=True)
    status, (_, note) = lines(folder, env={**os.environ, "CPU": "1"})
    assert (status, note[-37:]) == (0, "replace: rm -r .venv, then make CPU=1")


def test_the_pythons_are_those_that_pyproject_allows() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (oldest, newest) = preflight.supported_pythons(pyproject)
    allowed = tomllib.loads(pyproject)["project"]["requires-python"]
    assert allowed == f">=3.{oldest[1]},<3.{newest[1] + 1}"
    assert oldest <= sys.version_info[:2] <= newest


@pytest.mark.parametrize(
    "before",
    [
        "",
        "[core]\n",
        "[core] # mine\n    remote = storage",
        "[core]\n    remote = storage\n['remote \"storage\"']\n    url = /a\n",
        "['remote \"b\"']\n    url = c\n",
    ],
)
def test_dvc_is_told_to_do_without_git_and_other_settings_stay(
    folder: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    monkeypatch.chdir(folder)
    config = folder / ".dvc/config.local"
    if before:
        config.write_text(before)
    for _ in range(2):
        preflight.use_scm(False)
        assert len(re.findall(r"^\[core\].*\n    no_scm = true\n", config.read_text(), re.MULTILINE)) == 1
        assert config.read_text().count("[core]") == 1
        assert [line for line in before.splitlines() if line not in config.read_text()] == []
    preflight.use_scm(True)
    assert config.read_text().replace("[core]\n", "") == before.replace("[core]\n", "")
