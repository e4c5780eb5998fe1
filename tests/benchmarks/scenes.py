"""What differs from one picture of handwriting to the next: paper, pen, light and camera, all of it drawn by chance."""

import colorsys
from typing import Literal, NamedTuple

import numpy as np

Style = Literal["scan", "thin", "photo"]
Color = tuple[float, float, float]  # red, green, blue, 0 to 255

SIDES = (40, 2000)  # pixels of the longer side, log-uniform
LEAST_HEIGHT = 24.0  # pixels, of a digit; a picture too small for it grows
LEAST_CONTRAST = 90.0  # of 255, between the luminance of paper and ink
INKS: tuple[Color, ...] = (
    (25, 25, 30),  # black
    (30, 50, 140),  # blue ballpoint
    (45, 85, 190),  # royal blue
    (190, 40, 45),  # red
    (30, 110, 60),  # green
    (100, 100, 105),  # pencil
    (90, 40, 120),  # violet
)
CHALKS: tuple[Color, ...] = ((235, 235, 230), (240, 225, 140), (240, 190, 195))
BOARDS: tuple[Color, ...] = ((35, 40, 38), (40, 75, 60), (30, 35, 70), (60, 58, 55))


class Ruling(NamedTuple):
    """Lines printed on paper; lengths in heights of the digit."""

    spacing: float
    offset: tuple[float, float]
    width: float
    color: Color
    squared: bool
    margin: float | None  # where a red vertical line runs


class Scene(NamedTuple):
    """What is drawn by chance for a picture, but for its light and noise.

    ``scan``: a clean picture of any size on plain paper. ``thin``: the same, written with a fineliner. ``photo``:
    turned, tilted, ruled, unevenly lit, blurred, noisy and compressed, also of a blackboard.
    """

    style: Style
    side: int  # pixels of the longer side
    aspect: float  # width to height
    coverage: float  # of the picture's smaller side, by the digit
    place: tuple[float, float]  # of the digit, in the room that it leaves, 0 to 1
    paper: Color
    ink: Color
    pen: float | None = None  # the strokes' width, in heights of the digit; None: the digit's own
    rotation: float = 0.0  # degrees
    tilt: tuple[float, float] = (0.0, 0.0)  # of the camera: how much nearer one border of the ink is than its middle
    ruling: Ruling | None = None
    grain: float = 0.0  # how uneven the ink is, 0 to 1
    specks: int = 0
    glare: float = 0.0  # of a lamp on a glossy surface, of 255
    blur: float = 0.0  # standard deviation, in heights of the digit
    noise: float = 0.0  # standard deviation, of 255
    quality: int | None = None  # of JPEG; None: not compressed
    turned: bool = False  # the pixels lie on their side, and EXIF says so

    @property
    def is_dark(self) -> bool:
        """Whether light ink is on dark paper."""
        return luminance(self.paper) < luminance(self.ink)


def draw_scene(style: Style, generator: np.random.Generator) -> Scene:
    """A scene by chance."""
    if style == "photo":
        return _draw_photo(generator)
    return _draw_sheet(style, generator)._replace(
        pen=float(np.exp(generator.uniform(*np.log((1 / 35, 1 / 18))))) if style == "thin" else None,
        noise=float(generator.choice([0.0, 0.7, 1.5])),
    )


def _draw_sheet(style: Style, generator: np.random.Generator) -> Scene:
    side = round(float(np.exp(generator.uniform(*np.log(SIDES)))))
    aspect = float(generator.uniform(1, 1.5)) ** generator.choice([-1, 1])
    coverage = float(generator.uniform(0.25, 0.9))
    place = (float(generator.uniform()), float(generator.uniform()))
    return Scene(style, side, aspect, coverage, place, *_draw_colors(generator))


def _draw_photo(generator: np.random.Generator) -> Scene:
    scene = _draw_sheet("photo", generator)
    tilt = generator.uniform(-0.1, 0.1, 2) * scene.coverage
    return scene._replace(
        rotation=float(generator.uniform(-10, 10)),
        tilt=(float(tilt[0]), float(tilt[1])),
        ruling=_draw_ruling(scene, generator) if generator.uniform() < (0.15 if scene.is_dark else 0.5) else None,
        grain=float(generator.uniform(0, 0.5)),
        specks=int(generator.integers(1, 7)) if generator.uniform() < 0.3 else 0,
        glare=float(generator.uniform(10, 60)) if generator.uniform() < 0.15 else 0.0,
        blur=float(generator.uniform(0, 1 / 60)),
        noise=float(generator.uniform(1, 8)),
        quality=int(generator.integers(40, 96)),
        turned=bool(generator.uniform() < 0.2),
    )


def _draw_colors(generator: np.random.Generator) -> tuple[Color, Color]:
    """Of paper and ink, that differ in more than their hue."""
    while True:
        kind = generator.choice(["white", "cream", "gray", "pastel", "board"], p=[0.45, 0.15, 0.15, 0.1, 0.15])
        hue, light = generator.uniform(), generator.uniform()
        paper: Color = {
            "white": (243 + 12 * light,) * 3,
            "cream": (240 + 12 * light, 228 + 16 * light, 195 + 30 * light),
            "gray": (190 + 40 * light, 192 + 40 * light, 194 + 40 * light),
            "pastel": _scaled(colorsys.hls_to_rgb(hue, 0.85 + 0.08 * light, 0.5), 255),
            "board": BOARDS[generator.integers(len(BOARDS))],
        }[str(kind)]
        inks = CHALKS if kind == "board" else INKS
        ink = inks[generator.integers(len(inks))]
        faded = mix(paper, ink, generator.uniform(0.75, 1))
        if abs(luminance(paper) - luminance(faded)) >= LEAST_CONTRAST:
            return paper, faded


def _draw_ruling(scene: Scene, generator: np.random.Generator) -> Ruling:
    """Lines of less than half the contrast of ink."""
    spacing = float(np.exp(generator.uniform(*np.log((0.5, 2)))))
    return Ruling(
        spacing=spacing,
        offset=(float(generator.uniform()), float(generator.uniform())),
        width=spacing * float(generator.uniform(0.012, 0.03)),
        color=mix(scene.paper, mix(scene.ink, (90, 130, 190), 0.5), generator.uniform(0.15, 0.45)),
        squared=bool(generator.uniform() < 0.5),
        margin=-float(generator.uniform(0.7, 2)) if generator.uniform() < 0.3 else None,
    )


def luminance(color: Color) -> float:
    """How light a color looks, 0 to 255."""
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


def mix(first: Color, second: Color, fraction: float) -> Color:
    red, green, blue = (a + (b - a) * fraction for a, b in zip(first, second, strict=True))
    return red, green, blue


def _scaled(color: Color, factor: float) -> Color:
    return color[0] * factor, color[1] * factor, color[2] * factor
