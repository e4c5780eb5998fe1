"""The page itself: tables and sections in HTML, with Vega, taken from the package vl-convert-python, inside it."""

from collections.abc import Iterable, Sequence
from html import escape
from string import Template

import vl_convert

from stages.tools.report.tables import Table

# SVG is sharp at any zoom. Of Vega's menu only the export stays: the other entries open pages elsewhere. The templates
# name the schema of DVC's older Vega-Lite, about which this newer one would warn.
SCRIPT = """
window.draw = (element, {$schema, ...chart}) => vegaEmbed(element, chart, {
    mode: "vega-lite",
    renderer: "svg",
    actions: {export: true, source: false, compiled: false, editor: false},
});
"""
STYLE = """
body {font-family: sans-serif; line-height: 1.4; margin: 0 auto; max-width: 1240px; padding: 0 clamp(10px, 3vw, 2em);
    overflow-wrap: anywhere;}
h1, h2 {line-height: 1.2;}
.charts {display: grid; gap: 1.5em; grid-template-columns: repeat(auto-fill, minmax(min(100%, 360px), 1fr));}
.chart {min-width: 0; width: 100%;} .chart svg.marks {height: auto; max-width: 100%;}
.chart.vega-embed.has-actions {padding-right: 0;}
figure {margin: 0 0 1.5em;} figure img {display: block; height: auto; max-width: 100%;} figcaption {color: #555;}
.images {display: grid; gap: 1em;} .images > figure {max-width: 900px;}
.tables {display: flex; flex-wrap: wrap; gap: 0 4em;} table {border-collapse: collapse;}
th {font-weight: normal; text-align: left; vertical-align: top;}
td, th {padding: 0.15em 1em 0.15em 0;} td {font-variant-numeric: tabular-nums;} thead th {color: #555;}
tbody tr {border-top: 1px solid #ddd;} details {margin: 0.5em 0;} summary {cursor: pointer;}
@media (min-width: 900px) {.images:has(> :nth-child(2)) {grid-template-columns: 1fr 1fr;}}
@media (max-width: 600px) {
    .compared :is(tr, th, td) {display: block; padding: 0;} .compared tr {padding: 0.3em 0;}
    .compared thead {display: none;} .compared td::before {color: #555; content: attr(data-revision) ": ";}
}
"""
PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>MNIST, trained twice</title>
<script>$script</script>
<style>$style</style>
</head>
<body>
<h1>MNIST, trained twice</h1>
<div class="tables">
$tables
</div>
$details
$sections
</body>
</html>
""")


def make_page(revisions: Sequence[str], tables: Sequence[Table], details: Table, sections: Iterable[str]) -> str:
    """The whole page; ``details`` is a table that is folded in."""
    return PAGE.substitute(
        script=vl_convert.javascript_bundle(SCRIPT),
        style=STYLE,
        tables="\n".join(f"<section><h2>{each.title}</h2>\n{_table(each, revisions)}</section>" for each in tables),
        details=f"<details><summary>{details.title}</summary>\n{_table(details, revisions)}</details>",
        sections="\n".join(sections),
    )


def _table(table: Table, revisions: Sequence[str]) -> str:
    """A row for each name; with one revision without a head, with several a column for each."""
    if not table.rows:
        return "<p>none</p>"
    if len(revisions) == 1:
        cells = [(name, f"<td>{escape(text)}</td>") for name, (text,) in table.rows]
        return f"<table>{_rows(cells)}</table>"
    head = "".join(f'<th scope="col">{escape(revision)}</th>' for revision in revisions)
    cells = [(name, _cells(revisions, texts)) for name, texts in table.rows]
    return f'<table class="compared"><thead><tr><td></td>{head}</tr></thead>{_rows(cells)}</table>'


def _cells(revisions: Sequence[str], texts: Sequence[str]) -> str:
    """On a narrow screen the cells stand below each other, each after its revision's name."""
    return "".join(
        f'<td data-revision="{escape(revision)}">{escape(text)}</td>'
        for revision, text in zip(revisions, texts, strict=True)
    )


def _rows(cells: Iterable[tuple[str, str]]) -> str:
    return (
        "<tbody>"
        + "".join(f'<tr><th scope="row">{escape(name)}</th>{each}</tr>\n' for name, each in cells)
        + "</tbody>"
    )
