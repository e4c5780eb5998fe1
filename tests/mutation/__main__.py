"""Make mistakes in the code that computes results, one by one; the tests must go red each time: ``make mutation``.

A mutant is killed when a quick test fails, one that `make test` runs. What lives must stand in survivors.txt with the
reason, and what stands there must live.
"""

import os

os.environ |= dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)  # a fork has one thread

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.imports import ROOT
from tests.mutation.mutants import Mutant, chosen_modules, mutants_of
from tests.mutation.runner import Job, copies, preload, run_all
from tests.mutation.selection import Recorder, Selection, Tests

SURVIVORS = ROOT / "tests/mutation/survivors.txt"
# No result: names, what a page says, figures' looks, messages. Only mistakes chosen by hand are made there.
NO_RESULT = (
    *("stages/tools/", "stages/evaluation/figures/", "stages/plot.py", "stages/engines/scratch/nn.py"),
    *("stages/fetch.py", "stages/data/directory.py", "stages/data/package_index.py", "stages/data/torchvision"),
    *("stages/pipeline/params.py", "stages/pipeline/errors.py", "stages/__init__.py"),
)
# The tests that may see a mistake in a folder's modules; the first that fits.
AREAS = {
    "stages/engines/scratch/": ("tests/engines",),
    "stages/engines/": ("tests/engines", "tests/training"),
    "stages/training/": ("tests/training",),
    "stages/evaluation/": ("tests/evaluation",),
    "stages/data/": ("tests/data",),
    "stages/tools/": ("tests/tools/test_gate.py",),
    "stages/": ("tests/pipeline", "tests/training", "tests/data", "tests/engines", "tests/evaluation"),
}
FIRST = 8  # tests in a mutant's first run; most die in it, and few files have to be loaded
MEASURING, SHORTEST, SLOWER = 1800.0, 20.0, 10  # seconds; seconds; times as long as without a mistake


def main() -> None:
    """Print what lives, killed / total of each module, and what differs from survivors.txt; then status 1."""
    arguments = parse_arguments()
    paths = arguments.modules or sorted(results() | chosen_modules())
    started = time.monotonic()
    preload()
    known = read_survivors()
    with copies(arguments.jobs) as folders:
        selection = record({area for path in paths for area in area_of(path)}, folders)
        lived: list[Mutant] = []
        for path in paths:
            only_chosen = arguments.chosen or is_no_result(path)
            mutants = [each for each in mutants_of(path) if each.is_chosen or not only_chosen]
            living = survivors(mutants, selection, folders)
            lived += living
            print(f"{path}: {len(mutants) - len(living)}/{len(mutants)} killed", flush=True)
            for mutant in living:
                reason = known.get((path, mutant.change))
                print(f"  {path}:{mutant.lines[0]}: {mutant.change}{f'  # {reason}' if reason else ''}", flush=True)
    print(f"{(time.monotonic() - started) / 60:.0f} minutes")
    found = {(mutant.path, mutant.change) for mutant in lived}
    unexplained = found - known.keys()
    dead = set() if arguments.chosen else {key for key in known if key[0] in paths} - found
    for title, keys in (("lives without a reason", unexplained), ("in survivors.txt, but killed or gone", dead)):
        for path, change in sorted(keys):
            print(f"{title}: {path} | {change}")
    sys.exit(bool(unexplained or dead))


def parse_arguments() -> argparse.Namespace:
    """Which modules, and how many processes."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="a path such as stages/training/loop.py; or all")
    parser.add_argument("--chosen", action="store_true", help="only the mistakes chosen by hand, in mistakes.txt")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time, by default one a core"
    )
    return parser.parse_args()


def results() -> set[str]:
    """The modules that compute results."""
    paths = {path.relative_to(ROOT).as_posix() for path in (ROOT / "stages").rglob("*.py")}
    return {path for path in paths if not is_no_result(path)}


def is_no_result(path: str) -> bool:
    """Whether a module only names, draws or says."""
    return path.startswith(NO_RESULT)


def read_survivors() -> dict[tuple[str, str], str]:
    """The reason why each known mutant lives, by module and change: lines ``MODULE | CHANGE | REASON``."""
    lines = SURVIVORS.read_text(encoding="utf-8").splitlines()
    entries = [line.split(" | ") for line in lines if line and not line.startswith("#")]
    return {(path, " | ".join(change)): reason for path, *change, reason in entries}


def area_of(path: str) -> tuple[str, ...]:
    """The folders and files whose tests may see a mistake in a module."""
    return next(tests for start, tests in AREAS.items() if path.startswith(start))


def record(areas: Iterable[str], folders: Sequence[Path]) -> Selection:
    """Run the tests once without a mistake. Ends the program when one fails."""
    path = "stages/__init__.py"
    text = (ROOT / path).read_text(encoding="utf-8")
    jobs = (Job(area, path, text, [area], MEASURING, [Recorder()]) for area in sorted(areas))
    selection = Selection()
    for area, passed, folder, output in run_all(jobs, folders):
        if not passed:
            sys.exit(f"{output}\nerror: {area} fails before any mistake is made")
        selection.read(folder)
    return selection


def survivors(mutants: Iterable[Mutant], selection: Selection, folders: Sequence[Path]) -> list[Mutant]:
    """The mutants on which every test passes, in the order of their lines."""
    living: dict[Mutant, Tests] = dict.fromkeys(mutants, ())  # and the tests that they have passed
    for limit in (FIRST, None):
        for (mutant, tests), passed, _, output in run_all(jobs_of(living.copy(), limit, selection), folders):
            if passed:
                living[mutant] += tests
            else:
                del living[mutant]
                selection.count_kill(mutant.path, output)
    return sorted(living, key=lambda mutant: mutant.lines[0])


def jobs_of(
    living: Mapping[Mutant, Tests], limit: int | None, selection: Selection
) -> Iterator[Job[tuple[Mutant, Tests]]]:
    """At most ``limit`` tests for each mutant, of those that it has not passed yet."""
    for mutant, passed in living.items():
        selected = selection.tests(mutant.path, mutant.lines, area_of(mutant.path))
        if tests := tuple(test for test in selected if test not in passed)[:limit]:
            yield Job((mutant, tests), mutant.path, mutant.source, tests, time_limit(tests, selection))


def time_limit(tests: Tests, selection: Selection) -> float:
    """Seconds after which a mutant has hung."""
    return max(SHORTEST, SLOWER * selection.seconds(tests))


if __name__ == "__main__":
    main()
