"""What pip is configured to use, so that a machine which can install packages can fetch the digits too."""

import ast
import os
import re
import subprocess
import sys

_SECTIONS = ("global", "install", "download", ":env:")  # a later one has the last word, as in pip


def pip_options() -> dict[str, str]:
    """pip's options from its environment variables and files, such as index-url; empty when pip is not installed."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        env={**os.environ, "PIP_QUIET": "0"},  # quiet, pip would list nothing
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    found = re.findall(r"^(:env:|download|install|global)\.([\w-]+)=(['\"].+['\"])$", listing, re.MULTILINE)
    found.sort(key=lambda line: _SECTIONS.index(line[0]))
    return {option: ast.literal_eval(value) for _, option, value in found}
