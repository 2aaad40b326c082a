"""Which views the objectives ask for, from the few numbers that a user gives."""

from __future__ import annotations

from netphys.errors import OptionError
from netphys.stimuli.views import Crop, Jitter, ViewLaw

__all__ = ["view_law"]


def view_law(
    size: tuple[int, int], *, crop_scale: tuple[float, float], flip: bool, jitter: float = 0.0, grey: float = 0.0
) -> ViewLaw:
    """Return a law of views.

    Parameters
    ----------
    size : (int, int)
        Size (y, x) of the view, pixels.
    crop_scale : (float, float)
        Smallest and largest share of the image's area in a crop; (1, 1) is the whole image.
    flip : bool
        Whether half of the views are mirrored left-right.
    jitter : float
        Strength s of the colour jitter of SimCLR, applied to 80 % of views: brightness, contrast and saturation 0.8 s,
        hue 0.2 s; in [0, 2.5].
    grey : float
        Share of views without colour.

    Raises
    ------
    OptionError
        If a number is out of its range.
    """
    low, high = crop_scale
    if not 0 < low <= high <= 1:
        raise OptionError(f"crop_scale={list(crop_scale)} is no (smallest, largest) share of the area in (0, 1]")
    if not 0 <= jitter <= 2.5:
        raise OptionError(f"jitter={jitter} is no strength in [0, 2.5]; at 2.5 the hue is any")
    if not 0 <= grey <= 1:
        raise OptionError(f"grey={grey} is no share in [0, 1]")
    crop = None if low == high == 1 else Crop(scale=(low, high))
    colours = Jitter(0.8 * jitter, 0.8 * jitter, 0.8 * jitter, 0.2 * jitter, p=0.8) if jitter else None
    return ViewLaw(size=size, crop=crop, flip=0.5 if flip else 0.0, jitter=colours, grey=grey)
