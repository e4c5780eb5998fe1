"""Pictures from files: any of six formats, in any mode, as colors or gray from 0 to 1 and the right way up."""

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from stages.pipeline.errors import PipelineError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp")
LONGEST, SHORTEST = 600, 160  # pixels, of the longer side: larger pictures are reduced, smaller ones enlarged
SMALLEST = 8  # pixels, of the shorter side
TRANSPARENT = 0.5  # of a picture: with more of it transparent, it is ink without paper


def read_picture(file: Path | BinaryIO) -> Image.Image:
    """Open and decode a picture. Raises PipelineError where it cannot be; nothing in it is executed or fetched."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of metadata that matters to nobody here
            opened = Image.open(file, formats=FORMATS)
            opened.draft("RGB", (2 * LONGEST, 2 * LONGEST))  # decodes a JPEG at a fraction of its size
            opened.load()
            picture: Image.Image = ImageOps.exif_transpose(opened)
    except FileNotFoundError:
        raise PipelineError("no such file") from None
    except Image.DecompressionBombError:
        raise PipelineError("too large: more than 178 million pixels") from None
    except Exception as error:  # damaged bytes can fail anywhere in a decoder
        names = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        reason = str(error) if isinstance(error, OSError) and error.strerror else f"no {names} picture, or damaged"
        raise PipelineError(f"cannot be read: {reason}") from None
    if min(picture.size) < SMALLEST:
        raise PipelineError(f"too small: {picture.width} x {picture.height} pixels, at least 8 x 8 are needed")
    return picture


def to_array(picture: Image.Image) -> NDArray[np.float64]:
    """Gray (height, width, 1) or colors (height, width, 3), from 0 (black) to 1, of a picture in a common mode."""
    values = np.clip(np.asarray(picture, np.float64) / (1 if picture.mode == "F" else 255), 0, 1)
    if picture.mode == "RGBA":
        return lay_on_paper(values[:, :, :3], values[:, :, 3:])
    return values if picture.mode == "RGB" else values[:, :, None]


def in_common_mode(picture: Image.Image) -> Image.Image:
    """Gray with 8 bits (L) or as floats from 0 to 1 (F), or colors without (RGB) or with transparency (RGBA)."""
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(stretch(np.asarray(picture, np.float32)))
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")


def resized(picture: Image.Image) -> Image.Image:
    """A longer side of at least SHORTEST and less than twice LONGEST, by a whole factor: plain paper stays plain."""
    longest = max(picture.size)
    if longest < SHORTEST:
        factor = -(-SHORTEST // longest)
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)
    return picture.reduce(max(1, longest // LONGEST))


def stretch(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """16 or 32 bits a pixel, of which scanners and cameras use as many as they like, as 0 to 1."""
    values = np.nan_to_num(values)
    low, high = min(values.min(), 0), values.max()
    stretched: NDArray[np.float32] = (values - low) / ((high - low) or 1)
    return stretched


def lay_on_paper(colors: NDArray[np.float64], alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ink without paper gets one that it stands out from; a picture with some transparency, its own paper's color."""
    if not alpha.any():
        return np.ones_like(colors)
    visible = colors[alpha[:, :, 0] > 0.5] if (alpha > 0.5).any() else colors[alpha[:, :, 0] > 0]
    if len(visible) < (1 - TRANSPARENT) * alpha.size:
        paper = np.full(3, float(visible.mean() < 0.5))
    else:
        paper = np.median(visible, axis=0)
    return colors * alpha + paper * (1 - alpha)
