"""Run the committed pipeline again from the raw images, and compare: ``python -m stages.tools.reproduce``.

HEAD is cloned into a temporary folder, where nothing is in DVC's cache. Ends with exit status 1 on any difference.
"""

import shutil
import sys
from pathlib import Path

from dvc.api import DVCFileSystem

from stages.tools.clone import clone_head, run_pipeline
from stages.tools.commands import run, start
from stages.tools.differences import describe_difference
from stages.tools.git import changed_files, git, location, require_in_head
from stages.tools.machine import other_versions
from stages.tools.results import IDENTICAL, committed_outputs, compare_outputs


def main() -> None:
    """Clone, run, and print a line for each output, with what its bytes depend on."""
    require_in_head("dvc.lock")
    if changed_files(Path()):
        print("uncommitted changes are left out", flush=True)
    with clone_head("reproduce") as clone:
        versions = other_versions((clone / "constraints.txt").read_text(encoding="utf-8"))
        explanation = f"packages differ from constraints.txt: {', '.join(versions)}" if versions else ""
        if explanation:
            print(f"{explanation}; results may differ for that reason", flush=True)
        remove_results(clone)
        # Nobody else's settings, which may name a cache that has the results.
        settings = {f"DVC_{level}_CONFIG_DIR": str(clone / ".dvc/tmp") for level in ("GLOBAL", "SYSTEM")}
        run_pipeline(clone, settings)
        commit = git(clone, "rev-parse", "--short", "HEAD").strip()
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


def remove_results(clone: Path) -> None:
    """Remove all that the pipeline should make: what it no longer makes is then missing."""
    for path in map(clone.joinpath, committed_outputs(clone)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    (clone / "dvc.lock").unlink()


def describe_output(clone: Path, path: str) -> list[str]:
    """By how much an output differs, for each of its files that does."""
    made = clone / path
    files = [each for each in (made, *made.rglob("*")) if each.is_file()]
    after = {file.relative_to(clone).as_posix(): file.read_bytes() for file in files}
    if not after:
        return ["missing: the committed pipeline does not make it"]
    root = f"/{location()[1]}"  # the project's, in DVC's view of a commit
    try:
        head = DVCFileSystem(".", rev="HEAD")  # what is in git, or in DVC's cache
        before = {name.removeprefix(root): head.read_bytes(name) for name in head.find(f"{root}{path}")}
    except Exception:  # DVC raises many, some of them no OSError, for what is not in its cache
        return ["differs; its committed bytes are not in DVC's cache here, so not known by how much"]
    lines = []
    for name in sorted(name for name in before | after if before.get(name) != after.get(name)):
        missing = "new" if name not in before else "missing" if name not in after else ""
        line = missing or describe_difference(name, before[name], after[name])
        lines.append(line if name == path else f"{name.removeprefix(path)[1:]} {line}")
    return lines or ["the committed bytes, for which HEAD's dvc.lock has another hash"]


if __name__ == "__main__":
    start(main)
