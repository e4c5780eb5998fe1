"""What convolution and pooling share: windows that slide over images and feature maps, and two memory layouts."""

from stages.engines.scratch.layers import Array

Pair = tuple[int, int]


def pair(value: int | Pair) -> Pair:
    """One number stands for height and width alike."""
    return value if isinstance(value, tuple) else (value, value)


def nchw_to_hcwn(x: Array) -> Array:
    """(N, channels, height, width) as a view (height, channels, width, N)."""
    return x.transpose(2, 1, 3, 0)


def hcwn_to_nchw(x: Array) -> Array:
    """(height, channels, width, N) as a view (N, channels, height, width)."""
    return x.transpose(3, 1, 0, 2)


def check_window_fits(x: Array, window: Pair) -> None:
    """Raise ValueError when ``x`` (height, channels, width, N) is smaller than the window (height, width)."""
    if x.shape[0] < window[0] or x.shape[2] < window[1]:
        raise ValueError(f"a window of {window} does not fit into an input of {x.shape[::2]}")
