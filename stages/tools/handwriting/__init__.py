"""Pictures of handwritten digits, brought to the form of MNIST's images, for the networks to read.

``pictures`` decodes a file, ``paper`` estimates the paper and the light on it, ``ink`` is the difference from that,
``strokes`` drops what no pen wrote, ``digits`` separates the digits, and ``mnist`` scales and centers each.
"""

import numpy as np
from PIL import Image

from stages.pipeline.classifier import IMAGE_SHAPE, WHITE
from stages.tools.handwriting.digits import split
from stages.tools.handwriting.ink import find_ink
from stages.tools.handwriting.mnist import Pixels, is_mnist, to_mnist
from stages.tools.handwriting.pictures import in_common_mode, resized, to_array


def prepare(picture: Image.Image, digits: int | None = 1) -> list[Pixels]:
    """The digits in a picture from left to right, each as MNIST has it: uint8 (28, 28), bright on black.

    An image that has this form already is returned as it is. Raises PipelineError unless there are as many digits as
    expected; None expects any number but none.
    """
    picture = in_common_mode(picture)
    if picture.size == IMAGE_SHAPE:
        values = to_array(picture)
        pixels = np.rint(WHITE * values[:, :, 0]).astype(np.uint8)
        if (values == values[:, :, :1]).all() and is_mnist(pixels):
            return [pixels]
    return [to_mnist(ink) for ink in split(find_ink(to_array(resized(picture))), digits)]
