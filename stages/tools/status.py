"""Whether the results are those of the workspace's code and params.yaml: ``python -m stages.tools.status``."""

from collections.abc import Iterator
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo

from stages.pipeline.errors import PipelineError
from stages.tools.commands import start

SHOWN = 3  # stages, and differences of each


def main() -> None:
    """Raise PipelineError with what makes `dvc repro` necessary, where something does."""
    print("comparing code, params.yaml and results with dvc.lock, as `dvc status` does", flush=True)
    if stale := stale_stages():
        stages = _shorten([f"{stage} ({_shorten(causes)})" for stage, causes in stale.items()])
        raise PipelineError(f"the results are not those of the workspace, run `dvc repro`: {stages}")


def _shorten(items: list[str]) -> str:
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + more


def stale_stages() -> dict[str, list[str]]:
    """The stages whose results are not those of this code, params.yaml and data, each with what differs.

    What DVC keeps in its cache may be absent, as in a fresh clone; what is in git may not.
    """
    try:
        with Repo() as repo:
            status = repo.status()
            cached = tuple(f"{output}/" for output in repo.index.outs if output.use_cache)
    except DvcException as error:
        raise PipelineError(f"`dvc status` failed: {' '.join(str(error).split())}") from None
    causes = {
        stage: [
            f"{name} {kind}"
            for name, kind in _differences(entries)
            if kind not in ("deleted", "not in cache") or not f"{name}/".startswith(cached)
        ]
        for stage, entries in status.items()
    }
    return {stage: names for stage, names in causes.items() if names}


def _differences(entries: list[Any]) -> Iterator[tuple[str, str]]:
    """What differs and how: a file or parameter that is modified, new, deleted or not in DVC's cache."""
    for entry in entries:
        if isinstance(entry, str):  # such as `changed command`
            yield entry, ""
            continue
        for files in entry.values():
            for name, kind in files.items():
                if isinstance(kind, dict):
                    yield from ((f"{name}: {key}", how) for key, how in kind.items())
                else:
                    yield name, kind


if __name__ == "__main__":
    start(main)
