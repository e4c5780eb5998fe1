"""What README.md tells its readers to type."""

import re

from tests.imports import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(section: str) -> list[str]:
    """The commands of one section's console blocks, one by one, without their comments."""
    _, found, rest = README.partition(f"\n## {section}\n")
    assert found, f"README.md has no section {section}"
    blocks = re.findall(r"^```console\n(.*?)^```$", rest.split("\n## ")[0], re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert lines
    assert all(line.startswith("$ ") for line in lines)
    return [re.sub(r"\s{2,}#.*", "", line.removeprefix("$ ")) for line in lines]
