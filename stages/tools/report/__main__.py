"""Write the page: ``python -m stages.tools.report [REVISION ...]``.

DVC collects the plots of every revision; its own page would load Vega from the internet, and shows some results twice.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from stages.pipeline.files import write_bytes
from stages.tools.commands import run, start
from stages.tools.report.page import make_page
from stages.tools.report.sections import make_sections
from stages.tools.report.tables import metrics_table, parameters_tables

FOLDER = Path("dvc_plots")
WORKSPACE = "workspace"


def main() -> None:
    """Write dvc_plots/index.html for the workspace, compared with any revisions given, and print its address."""
    revisions = [*dict.fromkeys(revision for revision in sys.argv[1:] if revision != WORKSPACE), WORKSPACE]
    print(f"collecting metrics, parameters and plots of {', '.join(revisions)}", flush=True)
    sections = make_sections(collect_plots(revisions), revisions, FOLDER)
    parameters, others = parameters_tables(revisions)
    page = make_page(revisions, [metrics_table(revisions), parameters], others, sections)
    path = FOLDER / "index.html"
    write_bytes(path, page.encode())
    print(path.absolute().as_uri())


def collect_plots(revisions: list[str]) -> dict[str, list[dict[str, Any]]]:
    """DVC's plots by their names, as it gives them to the VS Code extension. Ends the program where DVC fails."""
    command = ["diff", *revisions] if len(revisions) > 1 else ["show"]
    static = str(FOLDER / "static")
    done = run(Path(), "dvc", "plots", *command, "--json", "--split", "--out", static, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(done.returncode)
    plots: dict[str, list[dict[str, Any]]] = json.loads(done.stdout).get("data", {})
    return plots


if __name__ == "__main__":
    start(main)
