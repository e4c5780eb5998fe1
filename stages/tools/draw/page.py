"""Puts the page together: HTML, style, scripts and data of ``web/`` in one file that requests nothing."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from stages.evaluation.figures.style import engine_colors

WEB = Path(__file__).parent / "web"
SCRIPTS = (  # in an order in which each finds what it uses
    "nn.js", "prepare.js", "dom.js", "colors.js", "images.js", "cursor.js", "words.js", "pen.js", "answer.js",
    "unit.js", "inside.js", "pixels.js", "gallery.js", "main.js",
)  # fmt: skip
LABELS = {"torch": "PyTorch", "scratch": "NumPy"}  # further engines have their own name


def make_page(networks: Sequence[Mapping[str, Any]], gallery: Mapping[str, Any]) -> str:
    """The whole page for networks as :func:`stages.tools.draw.models.describe` gives them, one for each engine."""
    engines = [str(network["engine"]) for network in networks]
    labels = {engine: LABELS.get(engine, engine) for engine in engines}
    return Template(_read("page.html")).substitute(
        style=_read("style.css") + _colors(engines),
        data=_json({"networks": networks, "labels": labels, "gallery": gallery}),
        scripts="\n".join(f"<script>\n{_escape(_read(name))}</script>" for name in SCRIPTS),
    )


def _read(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")


def _json(content: Mapping[str, Any]) -> str:
    """JSON that ends no <script> element, whatever its texts hold."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _escape(script: str) -> str:
    """The same script, in which no string ends its element."""
    return script.replace("</", "<\\/")


def _colors(engines: Iterable[str]) -> str:
    """The engines' colors of all figures, for what is marked with ``data-engine``."""
    colors = engine_colors(engines)
    return "".join(f'[data-engine="{engine}"] {{ --engine: {colors[engine]}; }}\n' for engine in engines)
