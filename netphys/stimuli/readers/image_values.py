"""An image in memory, of whatever library, becomes pixels (3, y, x), or one line that says why it does not."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from netphys.errors import OptionError, StimulusError
from netphys.stimuli.readers.decoding import MID_GREY, picture_pixels

__all__ = ["Layout", "image_of"]

Layout = Literal["CHW", "HWC"]
_CHANNELS = (1, 3, 4)


def image_of(value: Any, where: str, *, layout: Layout | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Convert an image to pixels.

    Parameters
    ----------
    value : PIL image, tensor or array
        (channel, y, x), (y, x, channel) or (y, x), of 1, 3 or 4 channels; uint8, uint16, bool, or float in [0, 1].
    where : str
        What messages call it.
    layout : {"CHW", "HWC"}, optional
        Where the channels are, if the shape leaves it open.

    Returns
    -------
    (array (3, y, x), words for what was done to it)
        uint8; float32 where `value` is float.

    Raises
    ------
    StimulusError
        If it is no image, or its layout or range is not clear.
    OptionError
        If `layout` is not one of the two.
    """
    if layout is not None and layout not in get_args(Layout):
        raise OptionError(f"layout={layout!r}: where an array has its colours is CHW or HWC")
    if hasattr(value, "getbands"):
        return _picture(value, where)
    array = _array(value, where)
    pixels, said = _in_range(_channels_first(array, where, layout), where)
    if len(pixels) == 4:
        pixels, said = _over_grey(pixels), [*said, "alpha over mid-grey"]
    if len(pixels) == 1:
        pixels, said = np.repeat(pixels, 3, axis=0), [*said, "grey repeated"]
    return np.array(pixels, order="C"), tuple(said)  # a copy: the dataset may change its own


def _picture(value: Any, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    try:
        return picture_pixels(value, name=where)
    except StimulusError:
        raise
    except Exception as error:  # PIL decodes when it is asked for pixels, and raises anything on damaged files
        raise StimulusError(f"{where} is broken: {type(error).__name__} {str(error).splitlines()[:1]}") from None


def _array(value: Any, where: str) -> np.ndarray:
    """Return a tensor or array as numpy has it."""
    import torch

    if isinstance(value, torch.Tensor):
        value = value.as_subclass(torch.Tensor).detach().cpu()
        return (value.float() if value.dtype is torch.bfloat16 else value).numpy()
    if isinstance(value, np.ndarray):
        return value
    raise StimulusError(
        f"{where} is no image but {type(value).__name__}; an image is a PIL image, a tensor or an array, "
        "and image= says which part of an item it is"
    )


def _channels_first(array: np.ndarray, where: str, layout: Layout | None) -> np.ndarray:
    """Return (channel, y, x); refuse a shape that can be read in two ways."""
    shape = tuple(array.shape)
    if array.ndim == 2:
        return array[None]
    if array.ndim != 3 or not array.size:
        raise StimulusError(f"{where} is no image (3, y, x), (y, x, 3) or (y, x): it has the shape {shape}")
    first, last = shape[0] in _CHANNELS, shape[2] in _CHANNELS
    if layout is None and first and last:
        raise StimulusError(
            f"{where} has the shape {shape}, whose colours may be first or last; say layout='CHW' or 'HWC'"
        )
    if layout == "HWC" or (layout is None and last):
        array, first = array.transpose(2, 0, 1), last
    if not first:
        raise StimulusError(f"{where} has the shape {shape}; an image has 1, 3 or 4 channels, first or last")
    return array


def _in_range(array: np.ndarray, where: str) -> tuple[np.ndarray, list[str]]:
    """Return uint8, or float32 in [0, 1]."""
    if array.dtype == np.uint8:
        return array, []
    if array.dtype == bool:
        return array.astype(np.uint8) * 255, ["false and true made 0 and 255"]
    if array.dtype == np.uint16:
        return ((array.astype(np.int64) + 128) // 257).astype(np.uint8), ["16 bit divided by 257"]
    if array.dtype.kind != "f":
        raise StimulusError(f"{where} is {array.dtype}; an image is uint8, or float in [0, 1]")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):
        hint = (
            "divide by 255" if low >= 0 and high > 2 else "leave out Normalize; networks have their own preprocessing"
        )
        raise StimulusError(f"{where} holds floats in [{low:.3g}, {high:.3g}], an image [0, 1]; {hint}")
    return array.astype(np.float32), []


def _over_grey(pixels: np.ndarray) -> np.ndarray:
    """Lay colours (4, y, x) over mid-grey, as files with alpha are."""
    if pixels.dtype == np.uint8:
        from PIL import Image

        return picture_pixels(Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)), mode="RGBA"))[0]
    alpha = pixels[3:]
    return (pixels[:3] * alpha + (MID_GREY / 255) * (1 - alpha)).astype(np.float32)
