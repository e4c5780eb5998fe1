"""Pictures of handwriting become images of MNIST's form, whatever file, mode, size, paper and light they come in.

The handwriting is scikit-learn's, 8 x 8 pixels in 17 shades, which is here without a network.
"""

import io
from contextlib import suppress
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from sklearn.datasets import load_digits

from stages.pipeline.errors import PipelineError
from stages.tools.handwriting import prepare
from stages.tools.handwriting.mnist import Pixels, center_of_mass, is_mnist, stroke_width
from stages.tools.handwriting.pictures import read_picture

Gray = NDArray[np.uint8]
DIGITS = load_digits()
STROKES = [ndimage.zoom(image / 16, 20, order=1) > 0.5 for image in DIGITS.images[:60]]  # 160 x 160 pixels


def drawn(index: int, margin: int = 30, paper: int = 255, ink: int = 0) -> Gray:
    """A digit with sharp edges, ink on paper."""
    strokes, _ = ndimage.label(np.pad(STROKES[index], margin))
    largest = np.bincount(strokes.ravel())[1:].argmax() + 1
    return np.where(strokes == largest, ink, paper).astype(np.uint8)


def one(picture: Image.Image) -> Pixels:
    (pixels,) = prepare(picture)
    return pixels


def reread(picture: Image.Image, kind: str, **options: Any) -> Image.Image:
    """The picture as it comes back from a file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return read_picture(io.BytesIO(buffer.getvalue()))


def difference(pixels: Pixels, expected: Pixels) -> float:
    """The absolute difference as a fraction of the ink, where the center of mass may have been rounded otherwise."""
    shifted = (np.roll(pixels, shift, (0, 1)).astype(int) for shift in product((-1, 0, 1), repeat=2))
    return min(float(np.abs(each - expected).sum() / expected.sum()) for each in shifted)


@pytest.mark.parametrize("index", range(0, 60, 4))
def test_the_ink_is_20_pixels_long_centered_by_mass_and_then_stays_to_the_bit(index: int) -> None:
    pixels = one(Image.fromarray(drawn(index)))
    rows, columns = np.nonzero(pixels)
    assert pixels.shape == (28, 28)
    assert pixels.max() == 255
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    assert np.allclose(center_of_mass(pixels.astype(float)), 14, atol=0.51)
    for mode in ("L", "RGB", "P", "RGBA"):
        again = one(reread(Image.fromarray(pixels).convert(mode), "PNG"))
        np.testing.assert_array_equal(again, pixels)


@pytest.mark.parametrize("index", range(0, 60, 4))
def test_an_enlarged_image_of_mnists_form_comes_back(index: int) -> None:
    pixels = one(Image.fromarray(drawn(index)))
    assert np.abs(one(Image.fromarray(np.kron(pixels, np.ones((10, 10), np.uint8)))).astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("index", range(0, 60, 12))
def test_place_size_and_colors_of_a_drawing_do_not_matter(index: int) -> None:
    expected = one(Image.fromarray(drawn(index)))
    for paper, ink in ((0, 255), (255, 0), (230, 90), (40, 200)):
        picture = drawn(index, 90, paper, ink)[50:, 20:]
        np.testing.assert_array_equal(one(Image.fromarray(picture)), expected)
    colored = Image.fromarray(drawn(index)).convert("RGB")
    blue_on_cream = np.where(np.asarray(colored) == 0, (30, 50, 140), (250, 245, 225)).astype(np.uint8)
    np.testing.assert_array_equal(one(Image.fromarray(blue_on_cream)), expected)
    for side in (60, 120, 1500):
        resized = colored.resize((side, side), Image.Resampling.BICUBIC)
        assert difference(one(resized), expected) < 0.2, side


def in_every_mode(gray: Gray) -> dict[str, tuple[Image.Image, str, dict[str, Any]]]:
    """The same picture, dark on bright, in other modes and formats; how it is saved."""
    picture, dark = Image.fromarray(gray), gray < 128
    alpha = Image.fromarray(np.where(dark, 255, 0).astype(np.uint8))
    black, white = (Image.new("L", picture.size, color) for color in (0, 255))
    transparent = picture.convert("RGB").quantize(2)
    wide = gray.astype(np.uint16)
    return {
        "PNG 1": (picture.convert("1"), "PNG", {}),
        "PNG P": (picture.convert("P"), "PNG", {}),
        "PNG P with transparency": (transparent, "PNG", {"transparency": transparent.getpixel((0, 0))}),
        "PNG LA, black on transparent": (Image.merge("LA", (black, alpha)), "PNG", {}),
        "PNG RGBA, white on transparent": (Image.merge("RGBA", (white, white, white, alpha)), "PNG", {}),
        "PNG RGBA, opaque": (picture.convert("RGBA"), "PNG", {}),
        "PNG I;16": (Image.fromarray(wide * 257), "PNG", {}),
        "PNG I;16 of 12 bits": (Image.fromarray(wide * 16), "PNG", {}),
        "TIFF I": (Image.fromarray(gray.astype(np.int32) * 1000), "TIFF", {}),
        "TIFF F": (Image.fromarray(gray.astype(np.float32) / 255), "TIFF", {}),
        "TIFF of two pages": (picture, "TIFF", {"save_all": True, "append_images": [white]}),
        "TIFF CMYK": (picture.convert("CMYK"), "TIFF", {"compression": "tiff_lzw"}),
        "GIF": (picture, "GIF", {}),
        "GIF of two frames": (picture, "GIF", {"save_all": True, "append_images": [white]}),
        "BMP": (picture.convert("RGB"), "BMP", {}),
        "WEBP": (picture.convert("RGB"), "WEBP", {"lossless": True}),
        "JPEG": (picture, "JPEG", {"quality": 95}),
        "JPEG CMYK": (picture.convert("CMYK"), "JPEG", {"quality": 95}),
    }


@pytest.mark.parametrize("name", in_every_mode(drawn(0)))
def test_format_and_mode_do_not_matter(name: str) -> None:
    picture, kind, options = in_every_mode(drawn(3))[name]
    assert difference(one(reread(picture, kind, **options)), one(Image.fromarray(drawn(3)))) < (
        0.1 if "JPEG" in name else 1e-9
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_phones_picture_is_turned_upright(orientation: int) -> None:
    stored = {  # what a camera stores when it is held so; Pillow names the inverse of each
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    upright = Image.fromarray(drawn(2))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = upright if stored is None else upright.transpose(stored)
    np.testing.assert_array_equal(one(reread(turned, "PNG", exif=exif)), one(upright))


@pytest.mark.parametrize("bright_ink", [False, True])
@pytest.mark.parametrize("index", range(0, 60, 10))
def test_shadow_uneven_light_noise_and_pale_rules_are_removed(index: int, bright_ink: bool) -> None:
    generator = np.random.default_rng(index)
    strokes = ndimage.gaussian_filter((drawn(index, 120) == 0).astype(float), 1)
    rows, columns = np.mgrid[: len(strokes), : len(strokes)] / len(strokes)
    rules = 0.15 * (np.arange(len(strokes)) % 40 < 2)[:, None]
    light = (1 - 0.4 * columns) * np.where(rows + 0.5 * columns > 0.9, 0.6, 1.0)
    light = ndimage.gaussian_filter(light, 3)
    reflected = 0.2 + 0.7 * strokes if bright_ink else 0.9 - 0.7 * np.maximum(strokes, rules)
    photo = np.clip(255 * (light * reflected + generator.normal(0, 0.02, light.shape)), 0, 255).astype(np.uint8)
    pixels = one(reread(Image.fromarray(photo), "JPEG", quality=80))
    assert difference(pixels, one(Image.fromarray(drawn(index)))) < 0.25


def test_thin_strokes_are_thickened_to_what_mnist_has() -> None:
    pages = []
    for width in (4, 40):
        page = Image.new("L", (400, 400), 255)
        ImageDraw.Draw(page).line([(120, 80), (280, 80), (180, 320)], 0, width, joint="curve")
        pages.append(one(page).astype(float))
    assert 1.5 < stroke_width(pages[0]) < 2.6
    assert 2 < stroke_width(pages[1]) < 4


def photo(brightness: NDArray[np.floating[Any]]) -> Image.Image:
    """With the noise of a camera."""
    noisy = brightness + np.random.default_rng(2).normal(0, 3, brightness.shape)
    return reread(Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)), "JPEG", quality=85)


def blank_pictures() -> dict[str, Image.Image]:
    generator = np.random.default_rng(1)
    rows_at, columns_at = np.mgrid[:300, :300] / 300
    distance = np.hypot(rows_at - 0.3, columns_at - 0.6)
    shadow = np.where(columns_at + 0.4 * rows_at > 0.6, 1.0, 0.55)
    lamp = np.mgrid[-288:192, -256:384]
    gradient = np.broadcast_to(np.linspace(120, 230, 300), (300, 300))
    rules = np.where(np.arange(300)[:, None] % 40 < 2, 200, 250) + np.zeros((1, 300))
    noise = generator.normal(0, 4, (300, 300))
    return {
        "vignette": photo(230 - 110 * distance**2),
        "spot": photo(130 + 60 * np.exp(-((distance / 0.5) ** 2))),
        "light of a lamp": photo(130 + 100 * np.exp(-((np.hypot(*lamp) / 192) ** 2))),
        "hard shadow": photo(215 * shadow),
        "soft shadow": photo(215 * ndimage.gaussian_filter(shadow, 8)),
        "grid": photo(np.minimum(rules, rules.T)),
        "speck": photo(np.where(distance < 0.008, 90, 215)),
        "edge of a desk": photo(np.where(columns_at < 0.1, 60, 215)),
        "chalkboard": photo(45 + 20 * columns_at),
        "white": Image.new("L", (300, 300), 255),
        "black": Image.new("1", (28, 28)),
        "transparent": Image.new("RGBA", (50, 50)),
        "gradient": Image.fromarray(gradient.astype(np.uint8)),
        "noise": Image.fromarray((gradient + noise).astype(np.uint8)),
        "ruled": Image.fromarray(rules.astype(np.uint8)),
        "ruled, with noise": Image.fromarray((rules - 30 + noise).astype(np.uint8)),
    }


@pytest.mark.parametrize("name", blank_pictures())
def test_a_blank_picture_is_called_blank(name: str) -> None:
    with pytest.raises(PipelineError, match="blank"):
        prepare(blank_pictures()[name])


def row(indices: list[int], gap: int) -> Image.Image:
    """Digits beside each other, each cut out at its sides."""
    parts = []
    for index in indices:
        part = drawn(index, 40) == 0
        columns = np.flatnonzero(part.any(axis=0))
        parts += [np.zeros((len(part), max(gap, 0)), bool), part[:, columns[0] : columns[-1] + 1]]
    strip = np.pad(np.concatenate(parts, axis=1), ((0, 0), (40, 40)))
    return Image.fromarray(np.where(strip, 0, 255).astype(np.uint8))


@settings(max_examples=20)
@given(st.lists(st.integers(0, 59), min_size=2, max_size=6), st.integers(25, 80))
def test_digits_in_a_row_are_split_at_their_gaps_from_left_to_right(indices: list[int], gap: int) -> None:
    picture, expected = row(indices, gap), [one(Image.fromarray(drawn(index))) for index in indices]
    for count in (len(indices), None):
        np.testing.assert_array_equal(prepare(picture, count), expected)
    for wrong in {1, len(indices) - 1}:
        with pytest.raises(PipelineError, match=f"^{len(indices)} digits found, {wrong} expected"):
            prepare(picture, wrong)


def test_digits_that_touch_are_cut_where_there_is_least_ink() -> None:
    parts = prepare(row([0, 0], 0), 2)
    assert len(parts) == 2
    assert all(difference(part, one(Image.fromarray(drawn(0)))) < 0.3 for part in parts)


def test_dashes_and_specks_are_no_digits() -> None:
    picture = row([1, 2], 120)
    is_empty = (np.asarray(picture) == 255).all(axis=0)
    middle = int(np.flatnonzero(is_empty[170:])[0]) + 170 + 60
    draw = ImageDraw.Draw(picture)
    draw.line([(middle - 50, 120), (middle + 50, 120)], 0, 12)  # ten pixels from either digit
    draw.ellipse([5, 5, 9, 9], 0)
    np.testing.assert_array_equal(prepare(picture, 2), [one(Image.fromarray(drawn(index))) for index in (1, 2)])


def test_two_parts_of_one_broken_digit_are_one() -> None:
    strokes = drawn(0)
    strokes[len(strokes) // 2 : len(strokes) // 2 + 6] = 255
    assert not is_mnist(strokes[:28, :28])
    assert difference(one(Image.fromarray(strokes)), one(Image.fromarray(drawn(0)))) < 0.2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no PNG"),
        (b"seven", "no PNG"),
        (b"%PDF-1.7\n", "no PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://127.0.0.1:1/'/></svg>", "no PNG"),
        (b"P5 9 9 255 " + bytes(81), "no PNG"),
    ],
)
def test_what_is_no_picture_of_the_six_formats_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        read_picture(io.BytesIO(content))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_file_that_is_cut_off_or_has_wrong_bytes_is_refused_or_read(kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(drawn(4)).convert("RGB").save(buffer, kind)
    whole, generator = buffer.getvalue(), np.random.default_rng(0)
    with pytest.raises(PipelineError):
        read_picture(io.BytesIO(whole[: len(whole) // 2]))
    for _ in range(40):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[generator.integers(0, len(damaged), 5)] = generator.integers(0, 256, 5)
        with suppress(PipelineError):  # any other error fails the test
            prepare(read_picture(io.BytesIO(damaged.tobytes())), None)


def test_sizes_from_8_pixels_to_50_million() -> None:
    small = Image.fromarray((DIGITS.images[0] * 255 / 16).astype(np.uint8))
    assert one(small).any()
    with pytest.raises(PipelineError, match="too small: 7 x 8"):
        read_picture(io.BytesIO(encoded(small.crop((0, 0, 7, 8)))))
    huge = Image.fromarray(drawn(3)).resize((8192, 6144))
    expected = one(Image.fromarray(drawn(3)).resize((1024, 768)))
    assert difference(one(reread(huge, "PNG", compress_level=1)), expected) < 0.1


def encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
