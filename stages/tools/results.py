"""Whether the results are the committed ones: ``python -m stages.tools.results``, the last line of ``make``."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.pipeline.errors import PipelineError
from stages.tools.git import changed_files, git, require_in_head

IDENTICAL = "results identical to the committed ones"
CAUSES = ("params.yaml", "dvc.yaml", "constraints.txt", "stages/*.py", ":!stages/tools")  # as git takes them


def main() -> None:
    """Print one line: the results are identical to the committed ones, or which differ."""
    require_in_head("dvc.lock")
    differing = [path for path, is_identical in compare_outputs(Path()).items() if not is_identical]
    if not differing:
        print(IDENTICAL)
        return
    causes = changed_files(Path(), *CAUSES)
    hint = f"changed since: {', '.join(causes)}" if causes else "by how much: make reproduce"
    print(f"results differ from the committed ones: {', '.join(differing)}; {hint}")


def compare_outputs(folder: Path) -> dict[str, bool]:
    """Whether each output of the pipeline in a checkout is its HEAD's: by dvc.lock, and by git if it is in git."""
    committed = committed_outputs(folder)
    made = read_outputs((folder / "dvc.lock").read_text(encoding="utf-8"))
    changed = changed_files(folder)
    return {
        path: committed.get(path) == made.get(path) and not any(_lies_in(file, path) for file in changed)
        for path in sorted(committed | made)
    }


def committed_outputs(folder: Path) -> dict[str, str]:
    """Each output of HEAD with its hash."""
    return read_outputs(git(folder, "show", "HEAD:./dvc.lock"))


def read_outputs(lock: str) -> dict[str, str]:
    """Each output in dvc.lock with its hash."""
    stages: dict[str, Any] = YAML(typ="safe", pure=True).load(lock)["stages"]
    return {output["path"]: output["md5"] for stage in stages.values() for output in stage.get("outs", [])}


def _lies_in(file: str, output: str) -> bool:
    return file == output or file.startswith(f"{output}/")


if __name__ == "__main__":
    try:
        main()
    except (PipelineError, OSError) as error:
        print(error)  # and no exit status: the results are there, only the comparison is not
