"""All charts and pictures on a page that needs no network: ``python -m stages.tools.report [REVISION ...]``.

DVC's own page loads Vega from the internet and stays blank without it. This one carries Vega, taken from the
package vl-convert-python.
"""

import subprocess
import sys
from pathlib import Path

import vl_convert

FOLDER = Path("dvc_plots")
# Sharp at any zoom; of Vega's menu, what opens a page elsewhere is left out. The templates in .dvc/plots name the older
# Vega-Lite of DVC's own page, of which this newer one would complain.
SCRIPT = """
window.vegaEmbed = (element, {$schema, ...chart}) => vegaEmbed(element, chart, {
    mode: "vega-lite",
    renderer: "svg",
    actions: {export: true, source: false, compiled: false, editor: false},
});
"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<title>MNIST, learnt twice</title>
<script>%s</script>
<style>
body {font-family: sans-serif; margin: 2em;}
div {border: none !important; text-align: left !important; white-space: normal !important;}
.vega-embed {margin: 1em 2em 1em 0;}
img {max-width: 900px;}
div:has(> div + div) > div > img {max-width: 46vw;}
</style>
</head>
<body>
<h1>MNIST, learnt twice</h1>
{plot_divs}
</body>
</html>
"""


def main() -> None:
    """Write dvc_plots/index.html, of the workspace or of the workspace beside revisions, and say where it is."""
    template = (FOLDER / "template.html").absolute()
    template.parent.mkdir(exist_ok=True)
    template.write_text(PAGE % vl_convert.javascript_bundle(SCRIPT), encoding="utf-8")
    revisions = sys.argv[1:]
    kind = ["diff", *revisions, "workspace"] if revisions else ["show"]
    sys.exit(subprocess.run(["dvc", "plots", *kind, "--html-template", template, "--out", FOLDER]).returncode)


if __name__ == "__main__":
    main()
