"""Break each line of every backward pass in turn; the tests must go red each time: ``make mutation``.

The known tools mutate whole modules, with operators that know no axes and leave out no terms; this one knows what goes
wrong in a gradient: its sign, its factor, a term that is missing, an axis that is another.
"""

import ast
import copy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.imports import ROOT

LIBRARY, TESTS = Path("stages/engines/scratch"), "tests/engines/scratch"
PARITY = "tests/engines/test_parity.py"
MODULES = ("activations", "convolution", "layers", "losses", "normalization", "sequential")
MEMORY = ("np.zeros", "np.empty")  # not computed: zeros have no sign, and fresh memory no meaning
OPPOSITES: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitXor: ast.BitAnd,
}
Computing = ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Return | ast.Expr


class Mutant(NamedTuple):
    """One module with one mistake."""

    path: Path
    line: int
    mistake: str
    source: str


def main() -> None:
    """Print each mutant that lives, then killed/total. Ends with exit status 1 when one lives."""
    mutants = [mutant for name in MODULES for mutant in mutants_of(LIBRARY / f"{name}.py")]
    killed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in ("stages", "tests", "pyproject.toml", "params.yaml"):
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, Path(folder, name))
        if not passes(Path(folder), TESTS):
            sys.exit("error: the tests fail before any mistake is made")
        for number, mutant in enumerate(mutants, 1):
            dead = is_killed(mutant, Path(folder))
            killed += dead
            fate = "killed" if dead else "LIVES"
            print(f"{number}/{len(mutants)} {fate}: {mutant.path}:{mutant.line}, {mutant.mistake}", flush=True)
    print(f"{killed}/{len(mutants)} killed")
    sys.exit(killed < len(mutants))


def is_killed(mutant: Mutant, folder: Path) -> bool:
    """Whether the module's own tests fail, or else those of the whole library or of whole trainings."""
    original = (folder / mutant.path).read_text(encoding="utf-8")
    (folder / mutant.path).write_text(mutant.source, encoding="utf-8")
    try:
        first = f"{TESTS}/test_{mutant.path.stem}.py"
        return not passes(folder, first) or not passes(folder, TESTS, PARITY)
    finally:
        (folder / mutant.path).write_text(original, encoding="utf-8")


def passes(folder: Path, *tests: str) -> bool:
    """Whether the tests go through. One that never ends has failed."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=first-failure"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, timeout=600)
    except subprocess.TimeoutExpired:
        return False
    return result.returncode == 0


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Every mistake in every statement of the functions whose names begin with backward."""
    text = (ROOT / path).read_text(encoding="utf-8")
    for place, statement in enumerate(backward_statements(ast.parse(text))):
        for mistake, broken in mistakes(statement):
            tree = ast.parse(text)
            replace(tree, backward_statements(tree)[place], broken)
            yield Mutant(path, statement.lineno, mistake, ast.unparse(ast.fix_missing_locations(tree)))


def backward_statements(tree: ast.AST) -> list[Computing]:
    """The statements that compute, in functions of that name and in those inside them."""
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("backward")
    ]
    statements = [node for function in functions for node in ast.walk(function) if isinstance(node, Computing)]
    return [
        each for each in statements if each.value and not isinstance(each.value, ast.Constant) and not is_memory(each)
    ]


def is_memory(statement: Computing) -> bool:
    """Whether it only gets memory, whose contents are nothing yet."""
    return any(ast.unparse(statement).split(" = ")[-1].startswith(start) for start in MEMORY)


def mistakes(statement: Computing) -> Iterator[tuple[str, ast.stmt]]:
    """What can go wrong in a statement, in words, with the statement gone wrong."""
    if isinstance(statement, ast.AugAssign | ast.Expr):
        yield "left out", ast.Pass()
    if isinstance(statement, ast.AugAssign) and type(statement.op) in OPPOSITES:
        opposite = copy.deepcopy(statement)
        opposite.op = OPPOSITES[type(statement.op)]()
        yield "the opposite", opposite
    nodes = list(ast.walk(statement))
    for place, node in enumerate(nodes):
        for mistake, wrong in wrong_expressions(node, computed(statement)):
            broken = copy.deepcopy(statement)
            replace(broken, list(ast.walk(broken))[place], wrong)
            yield f"{mistake} of {ast.unparse(node)}", broken


def computed(statement: Computing) -> ast.expr | None:
    """What a statement computes: its value, or the first argument of a call that writes to ``out``."""
    value = statement.value
    if isinstance(value, ast.Call) and any(keyword.arg == "out" for keyword in value.keywords):
        return value.args[0]
    return None if isinstance(statement, ast.Expr) else value


def wrong_expressions(node: ast.AST, whole: ast.expr | None) -> Iterator[tuple[str, ast.expr]]:
    """Sign and factor of the whole; a missing term, another axis or no transposition inside it."""
    if node is whole and isinstance(node, ast.expr) and not isinstance(node, ast.Tuple):
        yield "sign", ast.UnaryOp(ast.USub(), node)
        yield "factor", ast.BinOp(ast.Constant(2), ast.Mult(), node)
    if isinstance(node, ast.BinOp):
        yield "right term", node.left
        yield "left term", node.right
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield "transposition", node.value
    if isinstance(node, ast.Call):
        for keyword in node.keywords:
            if keyword.arg == "axis" and isinstance(keyword.value, ast.Constant):
                wrong = copy.deepcopy(node)
                [axis] = [each for each in wrong.keywords if each.arg == "axis"]
                axis.value = ast.Constant(1 - int(str(keyword.value.value)))
                yield "axis", wrong


def replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    """Put one node of a tree in the place of another."""
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
            elif isinstance(value, list):
                value[:] = [new if each is old else each for each in value]


if __name__ == "__main__":
    main()
