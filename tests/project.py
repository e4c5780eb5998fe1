"""A copy of the project in a folder of its own, in which the tests run the real DVC."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ruamel.yaml import YAML

from stages.tools.preflight import in_git
from tests.imports import ROOT

SMALL = {
    "fetch.sources": "[synthetic]",
    "fetch.synthetic_train_size": "400",
    "fetch.synthetic_test_size": "200",
    "preprocess.validation_size": "60",
    "network.hidden_sizes": "[16]",
    "scratch.network.hidden_sizes": "[16]",
    "training.epochs": "1",
    "training.batch_size": "16",
}
TIMEOUT = 400  # seconds for what takes a few: a bound against hanging, on a machine however busy
GIT = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
ENGINES = ("torch", "scratch")

# Python runs it when it starts. At the end of a stage it writes the modules that the stage loaded and the pipeline's
# files that it opened to read, as they were named.
RECORDER = """
import atexit, json, os, sys

if "DVC_STAGE" in os.environ and "RECORDS" in os.environ:
    read = set()

    def listen(event, arguments):
        if event == "open" and str(arguments[0]).startswith(("data/", "models/", "metrics/", "plots/")):
            if not arguments[2] & (os.O_WRONLY | os.O_RDWR):
                read.add(str(arguments[0]))

    def write():
        loaded = [each for each in sys.modules.values() if (getattr(each, "__file__", None) or "").endswith(".py")]
        record = {
            "modules": sorted(sys.modules),
            "code": sorted(os.path.relpath(each.__file__) for each in loaded),
            "read": sorted(read),
        }
        with open(os.path.join(os.environ["RECORDS"], os.environ["DVC_STAGE"] + ".json"), "w") as file:
            json.dump(record, file)

    sys.addaudithook(listen)
    atexit.register(write)
"""


class Project:
    """A git checkout with DVC, driven as a user drives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(
        self, *command: str, check: bool = True, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there, with this Python and its tools first on the PATH. Output and errors come together."""
        with self.started(*command, environment=environment) as process:
            output = output_of(process)
        assert not check or process.returncode == 0, f"{' '.join(command)}:\n{output}"
        return subprocess.CompletedProcess(command, process.returncode, output)

    @contextmanager
    def started(self, *command: str, environment: Mapping[str, str] | None = None) -> Iterator["subprocess.Popen[str]"]:
        """Start a command, without a terminal and in a process group of its own, which is killed in the end.

        Its output ends when the last of the group has ended.
        """
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**self._environment(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _kill(process)
            output_of(process, 60)

    def dvc(self, *arguments: str, check: bool = True) -> str:
        """Run ``dvc`` and return what it prints."""
        return self.run("dvc", *arguments, check=check).stdout

    def commit(self, message: str) -> None:
        """Commit everything that git does not ignore."""
        self.run(*GIT, "add", "--all")
        self.run(*GIT, "commit", "--quiet", "--allow-empty", "--message", message)

    def set(self, config: Mapping[str, str]) -> None:
        """Write keys, named ``section.key``, into params.yaml as YAML text; a section that is missing is made."""
        path, yaml = self.folder / "params.yaml", YAML()
        content = yaml.load(path)
        for name, value in config.items():
            *sections, key = name.split(".")
            section = content
            for part in sections:
                section = section.setdefault(part, {})
            section[key] = YAML(typ="safe").load(value)
        yaml.dump(content, path)

    def reset(self) -> None:
        """Bring back what is committed, outputs in DVC's cache included."""
        self.run("git", "checkout", "--quiet", ".")
        self.dvc("checkout", "--force")

    def status(self) -> str:
        """What git sees as changed, untracked files included."""
        return self.run("git", "status", "--porcelain", "--untracked-files=all").stdout

    def copy(self, folder: Path) -> "Project":
        """The same project in another folder, DVC's cache and git's history included."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)

    def clone(self, folder: Path) -> "Project":
        """A clone of what is committed, without DVC's cache."""
        self.run("git", "clone", "--quiet", ".", str(folder))
        return Project(folder)

    def install(self) -> None:
        """Give it a `.venv` as `make` makes it, with what this Python has."""
        (self.folder / ".venv").mkdir()
        for path in Path(sys.prefix).iterdir():
            (self.folder / ".venv" / path.name).symlink_to(path)
        for name in ("installed", "export"):  # in this order: make compares their times
            (self.folder / ".venv" / name).unlink(missing_ok=True)
            (self.folder / ".venv" / name).touch()

    def read(self, path: str) -> bytes:
        """The bytes of one file."""
        return (self.folder / path).read_bytes()

    def load_json(self, path: str) -> Any:
        """The content of a JSON file."""
        return json.loads(self.read(path))

    def outputs(self) -> dict[str, bytes]:
        """The bytes of everything that the pipeline has made, except what a killed process left behind."""
        paths = [
            path for folder in ("data", "models", "metrics", "plots") for path in (self.folder / folder).rglob("*")
        ]
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in paths
            if path.is_file() and not path.name.startswith(".") and ".raw." not in str(path)
        }

    def python(self, script: str) -> dict[str, str]:
        """The environment in which the stages' ``python`` is a shell script, where "$PYTHON" is the real one."""
        tools = self.folder.parent / f"{self.folder.name}-tools"
        tools.mkdir(exist_ok=True)
        (tools / "python").write_text(f"#!/bin/sh\nPYTHON='{sys.executable}'\n{script}\n", encoding="utf-8")
        (tools / "python").chmod(0o755)
        return {"PATH": f"{tools}{os.pathsep}{self._environment()['PATH']}"}

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        return {
            **own,  # as in a shell of one's own, also where make runs the tests
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            # The plainest shell: Debian's stays behind when DVC is killed, where bash makes way for the stage.
            "SHELL": "/bin/sh",
            "DVC_SITE_CACHE_DIR": str(self.folder / ".dvc/tmp/site"),  # instead of /var/tmp, where nobody removes it
        }


def _kill(process: "subprocess.Popen[str]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def output_of(process: "subprocess.Popen[str]", seconds: float = TIMEOUT) -> str:
    """What is left to read of a process and all that it started, once the last of them has ended."""
    return process.communicate(timeout=seconds)[0]


def line_of(process: "subprocess.Popen[str]", beginning: str, seconds: float = TIMEOUT) -> str:
    """The next line of its output that begins so; fails when the output ends before, or the time."""
    assert process.stdout
    read = []
    deadline = threading.Timer(seconds, _kill, [process])
    deadline.start()
    try:
        for line in process.stdout:
            if line.startswith(beginning):
                return line
            read.append(line)
    finally:
        deadline.cancel()
    raise AssertionError(f"no line {beginning!r} within {seconds} seconds, but:\n{''.join(read)}")


def wait_until(condition: Callable[[], bool], seconds: float = TIMEOUT, pause: float = 0.02) -> None:
    """Wait for a condition, asking after each pause; fail when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} seconds in vain"
        time.sleep(pause)


def stages_run(output: str) -> list[str]:
    """The stages that DVC says it ran."""
    return re.findall(r"^Running stage '(.+)':", output, re.MULTILINE)


def working_tree() -> list[str]:
    """The project's files, what git ignores left out; in an unpacked archive, an empty repository lists them."""
    with TemporaryDirectory() as empty:
        command = ["git", "ls-files", "-z", "--others", "--exclude-standard"]
        if in_git(ROOT):
            command.append("--cached")
        else:
            subprocess.run(["git", "init", "--quiet", "--bare", empty], check=True)
            command[1:1] = [f"--git-dir={empty}", "--work-tree=."]
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listing.split("\0")[:-1] if (ROOT / name).is_file()]


def copy_project(folder: Path, config: Mapping[str, str] = SMALL) -> Project:
    """Copy the working tree into a new git repository, with small synthetic parameters or others."""
    for name in working_tree():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    project = Project(folder)
    project.run(*GIT, "init", "--quiet")
    project.set(config)
    project.commit("The parameters of the tests")
    return project


def run_once(folder: Path) -> None:
    """Make a copy of the project in ``folder / "project"``, reproduce it under the recorder and commit the results."""
    for name in ("project", "records", "recorder"):
        (folder / name).mkdir(parents=True)
    (folder / "recorder/sitecustomize.py").write_text(RECORDER, encoding="utf-8")
    project = copy_project(folder / "project")
    environment = {"PYTHONPATH": str(folder / "recorder"), "RECORDS": str(folder / "records")}
    output = project.run("dvc", "repro", environment=environment).stdout
    (folder / "output.txt").write_text(output, encoding="utf-8")
    project.commit("First run")
