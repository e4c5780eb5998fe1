"""What git knows of this project, which may lie in a folder of a larger repository."""

from pathlib import Path
from subprocess import PIPE

from stages.pipeline.errors import PipelineError
from stages.tools.commands import run


def git(folder: Path, *arguments: str) -> str:
    """What git prints. Raises PipelineError with its own message, in one line."""
    try:
        done = run(folder, "git", *arguments, environment={"LC_ALL": "C"}, stdout=PIPE, stderr=PIPE)
    except FileNotFoundError:
        raise PipelineError("git is not installed") from None
    if done.returncode:
        raise PipelineError(" ".join(done.stderr.removeprefix("fatal: ").split()))
    return done.stdout


def location() -> tuple[Path, str]:
    """The repository's folder, and the project's in it: ``""`` or ending with a slash."""
    repository, prefix = (git(Path(), "rev-parse", f"--show-{part}").rstrip("\n") for part in ("toplevel", "prefix"))
    return Path(repository), prefix


def require_in_head(file: str, what: str = "committed results to compare with") -> None:
    """Raise PipelineError where the last commit does not have a file of this project, named from here.

    ``what`` says what is missing then.
    """
    try:
        repository, prefix = location()
        git(Path(), "rev-parse", "--quiet", "--verify", "HEAD")  # fails without a word
        if not git(Path(), "ls-tree", "--name-only", "HEAD", file):
            raise PipelineError(f"HEAD of {repository} has no {prefix}{file}")
    except PipelineError as error:
        reason = str(error) or "nothing is committed yet"
        raise PipelineError(f"no {what}: {reason}") from None


def changed_files(folder: Path, *paths: str) -> list[str]:
    """The project's tracked files, of these paths or all, that differ from HEAD's; their paths in the folder."""
    changed = git(folder, "diff", "--name-only", "--no-renames", "--relative", "-z", "HEAD", "--", *(paths or ["."]))
    return changed.split("\0")[:-1]


def new_files(folder: Path) -> list[str]:
    """The project's files that git neither tracks nor ignores; their paths in the folder."""
    return git(folder, "ls-files", "--others", "--exclude-standard", "-z").split("\0")[:-1]
