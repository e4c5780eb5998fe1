"""Pictures of handwritten digits as people scan and photograph them, drawn from MNIST's own."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tests.benchmarks import strokes
from tests.benchmarks.scenes import LEAST_HEIGHT, Color, Ruling, Scene, Style, draw_scene, mix
from tests.benchmarks.strokes import Field, Strokes

Digits = NDArray[np.uint8]  # (N, 28, 28)


def render(digit: NDArray[np.uint8], style: Style, generator: np.random.Generator) -> Image.Image:
    """A picture of one digit."""
    return Image.open(io.BytesIO(take(digit[None], draw_scene(style, generator), generator)))


def take(digits: Digits, scene: Scene, generator: np.random.Generator) -> bytes:
    """A file, PNG or JPEG, with the picture of one digit or of several beside each other."""
    written = strokes.from_digit(digits[0], scene.pen) if len(digits) == 1 else strokes.from_digits(digits, generator)
    sheet = _Sheet(written, scene)
    picture = sheet.paint(generator)
    if scene.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(float(scene.blur * sheet.scale)))
    pixels = np.asarray(picture, np.float32)
    if scene.style == "photo":
        pixels = _expose(pixels, scene, generator)
    if scene.noise:
        pixels = pixels + np.float32(scene.noise) * generator.standard_normal(pixels.shape, np.float32)
    return _to_file(_to_image(pixels), scene)


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
            _blend(pixels, mix(self.scene.paper, (220, 60, 70), 0.5), self._line(distance, 1.5 * ruling.width))

    def _line(self, distance: Field, width: float) -> Field:
        """How much of each pixel a line covers, whose middle is so far away, also where it is thinner than a pixel."""
        return np.minimum(self._coverage(distance - np.float32(width / 2)), np.float32(width * self.scale))

    def _coverage(self, distance: Field) -> Field:
        """How much of each pixel a shape covers, whose edge is so far away."""
        covered: Field = np.clip(np.float32(0.5) - distance * np.float32(self.scale), 0, 1)
        return covered


def _expose(pixels: Field, scene: Scene, generator: np.random.Generator) -> Field:
    """Light and white balance."""
    height, width = pixels.shape[:2]
    gains = np.exp(generator.uniform(-0.07, 0.07, 3)) * generator.uniform(0.7, 1.0)
    exposed = pixels * _light(width, height, generator)[..., None] * gains.astype(np.float32)
    if scene.glare:
        exposed += np.float32(scene.glare) * _spot(width, height, generator)[..., None]
    return exposed


def _light(width: int, height: int, generator: np.random.Generator) -> Field:
    """The light on each pixel, at most 1 and at least 0.45: from one side, darker to the corners, with a shadow."""
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    gradient, vignette, shadow = generator.uniform(0, 0.25), generator.uniform(0, 0.15), generator.uniform(0.2, 0.6)
    angles = generator.uniform(0, 2 * np.pi, 2)
    exponent = _along(x, y, angles[0]) * np.float32(gradient) - (x**2 + y**2) * np.float32(vignette)
    if generator.uniform() < 0.35:
        softness = np.float32(generator.uniform(0.06, 0.4))
        edge = _along(x, y, angles[1]) - np.float32(generator.uniform(-0.7, 0.7))
        exponent = exponent - np.float32(shadow) / (1 + np.exp(-np.clip(edge / softness * 4, -30, 30)))
    exponent = exponent - exponent.max()
    light: Field = np.exp(exponent * np.float32(min(1.0, np.log(0.45) / min(float(exponent.min()), -1e-6))))
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


def _to_file(picture: Image.Image, scene: Scene) -> bytes:
    file, exif = io.BytesIO(), Image.Exif()
    if scene.turned:
        picture = picture.transpose(Image.Transpose.ROTATE_90)
        exif[0x0112] = 6  # Orientation: turn by 90 degrees clockwise to see it
    if scene.quality is None:
        picture.save(file, "PNG", compress_level=1)
    else:
        picture.save(file, "JPEG", quality=scene.quality, exif=exif)
    return file.getvalue()


def _blend(pixels: Field, color: Color, coverage: Field) -> None:
    pixels += coverage[..., None] * (np.array(color, np.float32) - pixels)


def _to_image(pixels: Field) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
