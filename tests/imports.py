"""What a module of stages/ imports, read from its text, so that imports inside functions count too."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent


def path_of(module: str) -> Path | None:
    """The file of a module of the project, relative to its root; None for other people's modules."""
    stem = Path(*module.split("."))
    candidates = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((path for path in candidates if module.startswith("stages") and (ROOT / path).exists()), None)


def imported(path: Path) -> set[str]:
    """The modules that one file names in its imports, anywhere in it."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "relative imports are not used here"
            modules |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def loaded(path: Path) -> set[Path]:
    """All files of stages/ that running or importing one of them loads, itself and the packages on the way included."""
    found: set[Path] = set()
    waiting = {path}
    while waiting:
        current = waiting.pop()
        found.add(current)
        packages = {parent / "__init__.py" for parent in current.parents if parent.parts}
        modules = {path_of(module) for module in imported(current)}
        waiting |= (packages | {module for module in modules if module}) - found
    return found
