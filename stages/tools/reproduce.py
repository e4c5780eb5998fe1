"""Run the committed pipeline again from the raw images, and compare: ``python -m stages.tools.reproduce``.

HEAD is cloned into a temporary folder, where nothing is in DVC's cache. Ends with exit status 1 on any difference.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from dvc.api import DVCFileSystem

from stages.pipeline.arithmetic import KERNELS
from stages.pipeline.errors import PipelineError
from stages.tools.differences import describe_difference
from stages.tools.machine import other_versions
from stages.tools.results import IDENTICAL, changed_files, committed_outputs, compare_outputs, git

RAW = Path("data/raw")


def main() -> None:
    """Clone, run, and print a line for each output, with what its bytes depend on."""
    committed_outputs(Path())  # raises where there is nothing to compare with
    with TemporaryDirectory(prefix="reproduce-") as folder:
        clone = Path(folder, "clone")
        commit = clone_head(clone)
        versions = other_versions((clone / "constraints.txt").read_text(encoding="utf-8"))
        explanation = f"packages differ from constraints.txt: {', '.join(versions)}" if versions else ""
        if explanation:
            print(f"{explanation}; results may differ for that reason", flush=True)
        run_pipeline(clone, Path(folder, "dvc"))
        print(f"\nThe results of {commit}, computed again", flush=True)
        run(clone, "python", "-m", "stages.tools.machine")
        outputs = compare_outputs(clone)
        for path, is_identical in outputs.items():
            for line in ["identical"] if is_identical else describe_output(clone, path):
                print(f"{path:32} {line}")
    if differing := list(outputs.values()).count(False):
        verdict = f"{differing} of {len(outputs)} outputs differ from the committed ones"
        sys.exit(f"{verdict}; {explanation}" if explanation else verdict)
    print(IDENTICAL)


def clone_head(clone: Path) -> str:
    """Clone what is committed, with the raw images that are already here; returns the commit."""
    if changed_files(Path()):
        print("uncommitted changes are left out", flush=True)
    git(Path(), "clone", "--quiet", "--no-local", ".", str(clone))
    if RAW.exists():
        shutil.copytree(RAW, clone / RAW)  # the fetch stage compares their SHA-256 sums
    return git(clone, "rev-parse", "--short", "HEAD").strip()


def run_pipeline(clone: Path, settings: Path) -> None:
    """Run every stage, whatever is cached elsewhere. Raises PipelineError when one fails."""
    folders = ("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR", "DVC_SITE_CACHE_DIR")
    if run(clone, "dvc", "repro", "--force", **{name: str(settings / name) for name in folders}):
        raise PipelineError("the pipeline failed in a clone of HEAD; its own message stands above")


def run(clone: Path, *command: str, **variables: str) -> int:
    """Run a command of this environment in the clone; returns its exit status."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # The clone's params.yaml decides on its kernels, not what this process was started with.
    environment = {name: value for name, value in os.environ.items() if name not in KERNELS}
    return subprocess.run(command, cwd=clone, env={**environment, "PATH": path, **variables}).returncode


def describe_output(clone: Path, path: str) -> list[str]:
    """By how much an output differs, for each of its files that does."""
    made = clone / path
    files = [each for each in (made, *made.rglob("*")) if each.is_file()]
    after = {file.relative_to(clone).as_posix(): file.read_bytes() for file in files}
    try:
        head = DVCFileSystem(".", rev="HEAD")  # what is in git, or in DVC's cache
        before = {name[1:]: head.read_bytes(name) for name in head.find(f"/{path}")}
    except Exception:  # DVC raises many, some of them no OSError, for what is not in its cache
        return ["differs; its committed bytes are not in DVC's cache here, so not known by how much"]
    lines = []
    for name in sorted(name for name in before | after if before.get(name) != after.get(name)):
        missing = "new" if name not in before else "missing" if name not in after else ""
        line = missing or describe_difference(name, before[name], after[name])
        lines.append(line if name == path else f"{name.removeprefix(path)[1:]} {line}")
    return lines or ["the committed bytes, for which HEAD's dvc.lock has another hash"]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the clone is removed
    try:
        main()
    except (PipelineError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted")
