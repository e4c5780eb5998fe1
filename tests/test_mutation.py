"""`make mutation` breaks the code and tells what lives; its table of mistakes follows the code."""

import sys
from pathlib import Path

import pytest

from tests.imports import ROOT
from tests.mutation.mutants import chosen, chosen_modules, mutants_of
from tests.mutation.operators import mutated_sources
from tests.project import copy_project


def test_every_mistake_chosen_by_hand_still_has_its_place_in_the_code() -> None:
    for path in chosen_modules():
        text = (ROOT / path).read_text(encoding="utf-8")
        for source in chosen(path, text):
            assert source != text
            compile(source, path, "exec")


def test_operators_break_what_computes_and_not_what_is_said() -> None:
    source = '''
LIMIT: int = 3
class Layer:
    def backward(self, gradient: Array) -> Array:
        """The sum."""
        if gradient.ndim > LIMIT:
            raise ValueError("too many dimensions")
        self.clear()
        return gradient.T.sum(axis=0) + self.bias
'''
    lines = {line for mutant in mutated_sources(source) for line in mutant.splitlines()} - set(source.splitlines())
    total, bias = "gradient.T.sum(axis=0)", "self.bias"
    assert {
        "LIMIT: int = 4",
        "        if gradient.ndim >= LIMIT:",
        "        if True:",
        "        pass",
        f"        return {total} - {bias}",
        f"        return {total}",
        f"        return {bias}",
        f"        return -({total} + {bias})",
        f"        return 2 * ({total} + {bias})",
        f"        return gradient.T.sum(axis=1) + {bias}",
        f"        return gradient.sum(axis=0) + {bias}",
    } <= lines
    assert not [line for line in lines if ("Array" in line and "def" not in line) or "ValueError" in line]


@pytest.mark.slow
def test_a_module_is_reported_with_what_lives_and_what_is_known_to(tmp_path: Path) -> None:
    """The killed ones are those of the real tests; one test fewer, and a mistake lives that is not in the list."""
    path = "stages/training/batches.py"
    project = copy_project(tmp_path / "project")
    command = (sys.executable, "-m", "tests.mutation", path)
    count = sum(1 for _ in mutants_of(path))
    assert f"{path}: {count}/{count} killed\n" in project.run(*command).stdout
    (project.folder / "tests/mutation/survivors.txt").write_text(f"{path} | f: a -> b | equivalent\n", encoding="utf-8")
    for test in (project.folder / "tests/training").glob("test_*.py"):
        test.write_text("from stages.training import batches\n\ndef test() -> None:\n    pass\n", encoding="utf-8")
    done = project.run(*command, check=False)
    assert done.returncode == 1
    assert f"{path}: 0/{count} killed\n" in done.stdout
    assert f"in survivors.txt, but killed or gone: {path} | f: a -> b\n" in done.stdout
    assert done.stdout.count("lives without a reason") == count
