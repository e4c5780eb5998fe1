"""Pictures of handwritten digits as people scan and photograph them, drawn from MNIST's own.

``scan``: a clean picture of any size on plain paper. ``thin``: the same, written with a fineliner. ``photo``: turned,
tilted, ruled, unevenly lit, blurred, noisy and compressed, also of blackboards and whiteboards.
"""

import colorsys
import io
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tests.benchmarks import strokes
from tests.benchmarks.strokes import Field, Strokes

Style = Literal["scan", "thin", "photo"]
Color = tuple[float, float, float]  # red, green, blue, 0 to 255
Digit = NDArray[np.uint8]  # (28, 28)

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
    """All that is drawn by chance for a picture, but for its noise."""

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


def render(digit: Digit, style: Style, generator: np.random.Generator) -> Image.Image:
    """One digit, as ``Image.open`` would return the picture's file."""
    return take([digit], draw_scene(style, generator), generator)


def take(digits: Sequence[Digit], scene: Scene, generator: np.random.Generator) -> Image.Image:
    """A picture of digits beside each other."""
    written = strokes.from_digit(digits[0], scene.pen) if len(digits) == 1 else strokes.from_digits(digits, generator)
    sheet = _Sheet(written, scene)
    picture = sheet.paint(generator)
    if scene.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(float(scene.blur * sheet.scale)))
    if scene.style == "photo":
        picture = _expose(picture, scene, generator)
    elif scene.noise:
        pixels = np.asarray(picture, np.float32)
        picture = _to_image(pixels + np.float32(scene.noise) * generator.standard_normal(pixels.shape, np.float32))
    return _as_file(picture, scene)


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
        faded = _mix(paper, ink, generator.uniform(0.75, 1))
        if abs(luminance(paper) - luminance(faded)) >= LEAST_CONTRAST:
            return paper, faded


def _draw_ruling(scene: Scene, generator: np.random.Generator) -> Ruling:
    """Lines of less than half the contrast of ink."""
    spacing = float(np.exp(generator.uniform(*np.log((0.5, 2)))))
    return Ruling(
        spacing=spacing,
        offset=(float(generator.uniform()), float(generator.uniform())),
        width=spacing * float(generator.uniform(0.015, 0.04)),
        color=_mix(scene.paper, _mix(scene.ink, (90, 130, 190), 0.5), generator.uniform(0.15, 0.45)),
        squared=bool(generator.uniform() < 0.5),
        margin=-float(generator.uniform(0.7, 2)) if generator.uniform() < 0.3 else None,
    )


class _Sheet:
    """Paper with strokes in front of a camera: where each of its pixels lies on the paper, in heights of the digit."""

    def __init__(self, written: Strokes, scene: Scene) -> None:
        self.written, self.scene = written, scene
        angle = np.radians(scene.rotation)
        self.turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        outline = written.outline()
        self.tilt = np.array(scene.tilt) / max(1.0, 2 * outline.max())
        corners = self._to_camera(outline)
        lowest, highest = corners.min(axis=0), corners.max(axis=0)
        self.lowest, self.extent = lowest, highest - lowest
        size = scene.side * np.minimum((scene.aspect, 1 / scene.aspect), 1)
        self.scale = max(
            LEAST_HEIGHT, min(scene.coverage * size.min() / self.extent[1], 0.9 * (size / self.extent).min())
        )
        size = np.ceil(np.maximum(size, self.extent * self.scale / 0.9))
        self.width, self.height = size.astype(int).tolist()
        room = size - self.extent * self.scale
        border = 0.04 * size.min()
        self.corner = border + (room - 2 * border) * scene.place  # of the digits, in pixels

    def _to_camera(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        turned: NDArray[np.float64] = points @ self.turn.T
        turned /= 1 - turned @ self.tilt[:, None]
        return turned

    def _to_paper(self, columns: slice, rows: slice) -> tuple[Field, Field]:
        """Coordinates x, y on the paper of the pixels' middles."""
        x = ((np.arange(columns.start, columns.stop) + 0.5 - self.corner[0]) / self.scale + self.lowest[0])[None, :]
        y = ((np.arange(rows.start, rows.stop) + 0.5 - self.corner[1]) / self.scale + self.lowest[1])[:, None]
        x, y = x.astype(np.float32), y.astype(np.float32)
        nearness = 1 + np.float32(self.tilt[0]) * x + np.float32(self.tilt[1]) * y
        (a, b), (c, d) = self.turn.T.astype(np.float32)
        return (a * x + b * y) / nearness, (c * x + d * y) / nearness

    def paint(self, generator: np.random.Generator) -> Image.Image:
        """The paper with its ruling, specks and the ink."""
        pixels = np.empty((self.height, self.width, 3), np.float32)
        pixels[:] = self.scene.paper
        if self.scene.ruling:
            self._rule(pixels, self.scene.ruling)
        first = np.maximum(np.floor(self.corner).astype(int) - 2, 0)
        last = np.minimum(np.ceil(self.corner + self.extent * self.scale).astype(int) + 2, (self.width, self.height))
        columns, rows = (slice(*each) for each in zip(first.tolist(), last.tolist(), strict=True))
        ink = self._coverage(self.written.at(*self._to_paper(columns, rows)))
        if self.scene.grain:
            ink *= 1 - np.float32(self.scene.grain) * self._grain(ink.shape, generator)
        _blend(pixels[rows, columns], self.scene.ink, ink)
        for _ in range(self.scene.specks):
            self._speck(pixels, generator)
        return _to_image(pixels)

    def _grain(self, shape: tuple[int, ...], generator: np.random.Generator) -> Field:
        """Random numbers from 0 to 1, alike over a fiftieth of the digit."""
        cells = [max(2, round(length * 50 / max(self.scale, 50))) for length in shape]
        random = Image.fromarray(generator.uniform(size=cells).astype(np.float32))
        return np.asarray(random.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))

    def _speck(self, pixels: Field, generator: np.random.Generator) -> None:
        """A crumb or a spatter of ink, at most a fortieth of the digit wide."""
        radius = float(generator.uniform(0.3, 1)) * self.scale / 80
        x, y = generator.uniform(0, (self.width, self.height)).tolist()
        columns = slice(max(0, int(x - radius - 2)), int(x + radius + 3))
        rows = slice(max(0, int(y - radius - 2)), int(y + radius + 3))
        part = pixels[rows, columns]
        row, column = np.ogrid[: part.shape[0], : part.shape[1]]
        distance = np.hypot(column + (columns.start + 0.5 - x), row + (rows.start + 0.5 - y)) - radius
        speck = np.clip(0.5 - distance, 0, min(1, 2 * radius)).astype(np.float32)
        _blend(part, self.scene.ink, speck)

    def _rule(self, pixels: Field, ruling: Ruling) -> None:
        height, width = pixels.shape[:2]
        x, y = self._to_paper(slice(0, width), slice(0, height))
        for axis, offset in list(zip((y, x), ruling.offset, strict=True))[: 1 + ruling.squared]:
            phase = axis / np.float32(ruling.spacing) + np.float32(offset)
            distance = np.abs(phase - np.round(phase)) * np.float32(ruling.spacing)
            _blend(pixels, ruling.color, self._line(distance, ruling.width))
        if ruling.margin is not None:
            distance = np.abs(x - np.float32(ruling.margin))
            _blend(pixels, _mix(self.scene.paper, (220, 60, 70), 0.5), self._line(distance, 1.5 * ruling.width))

    def _line(self, distance: Field, width: float) -> Field:
        """How much of each pixel a line covers, whose middle is so far away, also where it is thinner than a pixel."""
        return np.minimum(self._coverage(distance - np.float32(width / 2)), np.float32(width * self.scale))

    def _coverage(self, distance: Field) -> Field:
        """How much of each pixel a shape covers, whose edge is so far away."""
        covered: Field = np.clip(np.float32(0.5) - distance * np.float32(self.scale), 0, 1)
        return covered


def _expose(picture: Image.Image, scene: Scene, generator: np.random.Generator) -> Image.Image:
    """Light, white balance and noise of the sensor."""
    width, height = picture.size
    pixels = np.asarray(picture, np.float32)
    cast = np.exp(generator.uniform(-0.07, 0.07, 3)) * generator.uniform(0.7, 1.0)
    pixels = pixels * _light(width, height, generator)[..., None] * cast.astype(np.float32)
    if scene.glare:
        pixels += np.float32(scene.glare) * _spot(width, height, generator)[..., None]
    noise = generator.standard_normal(pixels.shape, np.float32)
    return _to_image(pixels + np.float32(scene.noise) * noise)


def _light(width: int, height: int, generator: np.random.Generator) -> Field:
    """The light on each pixel, at most 1 and at least 0.45: from one side, darker to the corners, with a shadow."""
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    gradient, vignette, shadow = generator.uniform(0, 0.25), generator.uniform(0, 0.15), generator.uniform(0.2, 0.6)
    angles = generator.uniform(0, 2 * np.pi, 2)
    stops = _along(x, y, angles[0]) * np.float32(gradient) - (x**2 + y**2) * np.float32(vignette)
    if generator.uniform() < 0.35:
        softness = np.float32(generator.uniform(0.02, 0.3))
        edge = _along(x, y, angles[1]) - np.float32(generator.uniform(-0.7, 0.7))
        stops = stops - np.float32(shadow) / (1 + np.exp(-np.clip(edge / softness * 4, -30, 30)))
    stops = stops - stops.max()
    light: Field = np.exp(stops * np.float32(min(1.0, np.log(0.45) / min(float(stops.min()), -1e-6))))
    return light


def _spot(width: int, height: int, generator: np.random.Generator) -> Field:
    """A round spot of soft light, 0 to 1."""
    x, y, size = *generator.uniform(-1, 1, 2), generator.uniform(0.3, 1)
    across = np.exp(-(((np.linspace(-1, 1, width) - x) / size) ** 2))
    down = np.exp(-(((np.linspace(-1, 1, height) - y) / size) ** 2))
    return np.outer(down, across).astype(np.float32)


def _along(x: Field, y: Field, angle: float) -> Field:
    along: Field = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    return along


def _as_file(picture: Image.Image, scene: Scene) -> Image.Image:
    """The picture after it was written and read again."""
    if scene.quality is None:
        return picture
    exif = Image.Exif()
    if scene.turned:
        picture = picture.transpose(Image.Transpose.ROTATE_90)
        exif[0x0112] = 6  # Orientation: turn by 90 degrees clockwise to see it
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=scene.quality, exif=exif)
    return Image.open(file)


def luminance(color: Color) -> float:
    """How light a color looks, 0 to 255."""
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


def _mix(first: Color, second: Color, fraction: float) -> Color:
    red, green, blue = (a + (b - a) * fraction for a, b in zip(first, second, strict=True))
    return red, green, blue


def _scaled(color: Color, factor: float) -> Color:
    return color[0] * factor, color[1] * factor, color[2] * factor


def _blend(pixels: Field, color: Color, coverage: Field) -> None:
    pixels += coverage[..., None] * (np.array(color, np.float32) - pixels)


def _to_image(pixels: Field) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
