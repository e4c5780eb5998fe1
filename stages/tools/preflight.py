"""What ``make`` needs: each lack in one line with the way out, before anything is downloaded.

``python3 stages/tools/preflight.py [scratch|cpu|all]`` names what is about to be installed, if anything. Python 3.6 can
run it, with the standard library alone. It also tells DVC whether there is a git repository.
"""

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

DVC_CONFIG = Path(".dvc/config.local")  # its settings that git ignores
WITH_CUDA = ("Linux-x86_64", "Linux-aarch64")  # where PyTorch's own packages bring CUDA
WITH_PYTORCH = (*WITH_CUDA, "Darwin-arm64")
# Gigabytes: of .venv, data and DVC's cache; of the packages, which pip downloads into the folder for temporary files.
SIZES = {"scratch": (1.5, 0.3), "cpu": (3.0, 0.8), "all": (7.0, 3.3)}


def main(what: str) -> int:
    """Print what is missing, and return the exit status."""
    problems = [*folder_problems(), *(installation_problems(what) if what else [])]
    if problems:
        print("\n".join(f"error: {problem}" for problem in problems), file=sys.stderr)
        return 1
    is_in_git = in_git()
    if not is_in_git:
        print("note: no git repository here: gate, quick, reproduce, plots with REVISIONS and dvc exp need one")
    if os.environ.get("CPU") == "1" and any(Path(".venv").glob("lib/python*/site-packages/nvidia")):
        print("note: .venv has PyTorch with CUDA, which CPU=1 does not replace: rm -r .venv, then make CPU=1")
    with suppress(OSError):
        use_scm(is_in_git)
    return 0


def folder_problems() -> "Iterator[str]":
    """What is wrong with the project's folder."""
    if sys.platform == "win32":
        yield "Windows itself is not supported: use WSL, https://learn.microsoft.com/windows/wsl/install"
        return
    here, python = Path.cwd(), Path(".venv/bin/python")
    if not os.access(here, os.W_OK):
        yield f"{here}: no permission to write: copy the project into a folder of your own"
    if python.is_symlink() and not python.exists():
        yield "the Python that .venv was made with is gone: rm -r .venv, then the same again"
    status, output = git("rev-parse", "--git-dir")
    if status == 0 or not any((folder / ".git").exists() for folder in (here, *here.parents)):
        return
    if status is None:
        yield "git is missing: install it, such as with `apt install git` or `xcode-select --install`"
    elif "dubious ownership" in output:
        folder = shlex.quote(str(next(folder for folder in (here, *here.parents) if (folder / ".git").exists())))
        yield f"git trusts no folder of another user: git config --global --add safe.directory {folder}"
    else:
        yield f"git cannot read this repository: {output.strip()}"


def installation_problems(what: str) -> "Iterator[str]":
    """What this machine lacks for the installation; ``what`` is a key of SIZES."""
    found, current = platform.python_implementation(), sys.version_info[:2]
    oldest, newest = supported_pythons(Path("pyproject.toml").read_text(encoding="utf-8"))
    if found != "CPython" or not oldest <= current <= newest:
        versions = " to ".join(f"{major}.{minor}" for major, minor in (oldest, newest))
        yield f"Python {versions} is needed, and this is {found} {platform.python_version()}: make PYTHON=python3.X"
        return
    try:
        import ensurepip  # noqa: F401  # Debian has both in a package of their own
        import venv  # noqa: F401
    except ImportError as error:
        yield f"Python's module {error.name} is missing: apt install python{current[0]}.{current[1]}-venv"
    machine = f"{platform.system()}-{platform.machine()}"
    if what != "scratch" and machine not in WITH_PYTORCH:
        yield f"PyTorch has no package for {machine}: make scratch trains the NumPy network without it"
    if not any(Path(".venv").glob(f"lib/python*/site-packages/{'dvc' if what == 'scratch' else 'torch'}")):
        project, download = SIZES["cpu" if what == "all" and machine not in WITH_CUDA else what]
        yield from space_problems(project, download, Path(tempfile.gettempdir()))


def supported_pythons(pyproject: str) -> "list[tuple[int, int]]":
    """The oldest and the newest Python that pyproject.toml allows."""
    oldest, after = re.findall(r'^requires-python = ">=3\.(\d+),<3\.(\d+)"', pyproject, re.MULTILINE)[0]
    return [(3, int(oldest)), (3, int(after) - 1)]


def space_problems(project: float, download: float, temporary: Path) -> "Iterator[str]":
    """Where so many gigabytes are not free."""
    if temporary.stat().st_dev == Path().stat().st_dev:
        project += download
    elif free(temporary) < download:
        yield f"{temporary}: {free(temporary):.1f} GB free, {download} needed: make TMPDIR=/another/folder"
    if free(Path()) < project:
        way_out = "less for make CPU=1 (on Linux), least for make scratch"
        yield f"{Path.cwd()}: {free(Path()):.1f} GB free, {project} needed; {way_out}"


def free(folder: Path) -> float:
    """Free gigabytes."""
    return shutil.disk_usage(str(folder)).free / 1e9


def in_git(folder: Path = Path()) -> bool:
    """Whether this project is in git: not in an unpacked archive, also where that lies in another repository."""
    status, tracked = git("-C", str(folder), "ls-files", "dvc.yaml")
    return (folder / ".git").exists() or (status == 0 and bool(tracked))


def git(*arguments: str) -> "tuple[int | None, str]":
    """Exit status, None where there is no git; what it prints, or else its error."""
    try:
        english = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run(["git", *arguments], env=english, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError:
        return None, ""
    return done.returncode, (done.stderr if done.returncode else done.stdout).decode(errors="replace")


def use_scm(is_in_git: bool) -> None:
    """Tell DVC to do without git, or no longer to; the user's other settings stay."""
    before = DVC_CONFIG.read_text(encoding="utf-8") if DVC_CONFIG.exists() else ""
    after = re.sub(r"^[ \t]*no_scm[ \t]*=.*\n?", "", before, flags=re.MULTILINE)
    if not is_in_git:
        section = re.search(r"^[ \t]*\[core\].*\n?", after, flags=re.MULTILINE)
        end = section.end() if section else 0
        after = f"{after[:end] if section else '[core]'}".rstrip() + f"\n    no_scm = true\n{after[end:]}"
    if after != before:
        DVC_CONFIG.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main("".join(sys.argv[1:])))
