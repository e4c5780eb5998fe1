"""One page of all charts and figures that needs no network: ``python -m stages.tools.report [REVISION ...]``.

DVC's own page loads Vega from the internet and stays blank without it. This one contains Vega, taken from the package
vl-convert-python.
"""

import subprocess
import sys
from pathlib import Path

import vl_convert

FOLDER = Path("dvc_plots")
# SVG is sharp at any zoom. Of Vega's menu only the export stays: the other entries open pages elsewhere. The templates
# name the schema of DVC's older Vega-Lite, about which this newer one would warn. On a narrow screen a chart shrinks,
# but only as far as it stays readable; a wider one scrolls.
SCRIPT = """
window.vegaEmbed = async (element, {$schema, ...chart}) => {
    const {view} = await vegaEmbed(element, chart, {
        mode: "vega-lite",
        renderer: "svg",
        actions: {export: true, source: false, compiled: false, editor: false},
    });
    const svg = view.container().querySelector("svg.marks");
    svg.style.minWidth = `${0.75 * svg.width.baseVal.value}px`;
};
"""
# DVC puts each chart into a div of its own, and the images of one file into a div of divs, one for each revision.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>MNIST, trained twice</title>
<script>%s</script>
<style>
body {font-family: sans-serif; margin: clamp(0.5em, 3vw, 2em);}
div {border: none !important; text-align: left !important; white-space: normal !important;}
.vega-embed {box-sizing: border-box; margin: 0.5em 0; max-width: 100%%; overflow-x: auto;}
.vega-embed svg.marks {height: auto; max-width: 100%%;}
img {height: auto; max-width: min(100%%, 900px);}
@media (min-width: 700px) {div:has(> div + div) > div > img {max-width: 46vw;}}
</style>
</head>
<body>
<h1>MNIST, trained twice</h1>
{plot_divs}
</body>
</html>
"""


def main() -> None:
    """Write dvc_plots/index.html for the workspace, compared with any revisions given, and print its address."""
    template = (FOLDER / "template.html").absolute()
    template.parent.mkdir(exist_ok=True)
    template.write_text(PAGE % vl_convert.javascript_bundle(SCRIPT), encoding="utf-8")
    revisions = sys.argv[1:]
    command = ["diff", *revisions, "workspace"] if revisions else ["show"]
    sys.exit(subprocess.run(["dvc", "plots", *command, "--html-template", template, "--out", FOLDER]).returncode)


if __name__ == "__main__":
    main()
