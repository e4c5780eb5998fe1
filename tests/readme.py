"""What the documentation tells its readers to type, and what it says of the committed metrics."""

import json
import re
import subprocess
from typing import Any

from stages.tools.preflight import in_git
from tests.imports import ROOT


def section(document: str, title: str) -> str:
    """The text of one section of a Markdown file, up to the next one of its level."""
    _, found, rest = (ROOT / document).read_text(encoding="utf-8").partition(f"\n## {title}\n")
    assert found, f"{document} has no section {title}"
    return rest.split("\n## ")[0]


def python_blocks(document: str, title: str) -> list[str]:
    """The Python code of one section, block by block."""
    blocks: list[str] = re.findall(r"^```python\n(.*?)^```$", section(document, title), re.MULTILINE | re.DOTALL)
    return blocks


def commands(document: str, title: str) -> list[str]:
    """The commands of one section's console blocks, one by one, without their comments."""
    blocks = re.findall(r"^```console\n(.*?)^```$", section(document, title), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert lines, f"{document} has no command in section {title}"
    assert all(line.startswith("$ ") for line in lines)
    return [re.sub(r"\s{2,}#.*", "", line.removeprefix("$ ")) for line in lines]


def metrics(name: str) -> dict[str, Any]:
    """metrics/NAME.json as committed: a run on another machine may have changed it a little."""
    path = f"metrics/{name}.json"
    if in_git(ROOT):
        committed = subprocess.run(["git", "show", f"HEAD:./{path}"], cwd=ROOT, capture_output=True, check=True).stdout
    else:
        committed = (ROOT / path).read_bytes()
    content: dict[str, Any] = json.loads(committed)
    return content


def row(title: str, *cells: str) -> str:
    """A row of a Markdown table."""
    return re.sub(r"(?<=\|)  (?=\|)", " ", "| " + " | ".join([title, *cells]) + " |")
