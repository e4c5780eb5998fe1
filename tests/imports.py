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
