"""What a film is, and its decoded frames made pixels as pictures are: RGB, turned as it says; what is done is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from netphys.errors import StimulusError
from netphys.stimuli.readers.decoding import MAX_PIXELS, picture_pixels

__all__ = ["Film", "Frame", "film_pixels"]

Frame = tuple[np.ndarray, tuple[str, ...]]  # uint8 (3, y, x), words for what was done to it


class Film(Protocol):
    """Frames by their number.

    Attributes
    ----------
    name : str
        What messages call it.
    n_frames : int
    size : (int, int)
        y, x; pixels.
    rate : float
        Frames/s, the mean; nan: unknown.
    times : array of float (n_frames,) or None
        When each frame begins, s from the first; None: unknown.
    """

    name: str
    n_frames: int
    size: tuple[int, int]
    rate: float
    times: np.ndarray | None

    def frames(self, numbers: Sequence[int]) -> list[Frame]:
        """Read frames in the order asked for.

        Parameters
        ----------
        numbers : sequence of int
            The first is 0.

        Returns
        -------
        list of (array of uint8 (3, y, x), words for what was done to it)

        Raises
        ------
        StimulusError
            If one is damaged.
        """


def film_pixels(frame: Any, stream: Any, reformatter: Any) -> Frame:
    """Convert a decoded frame to pixels, turned as the film says.

    Parameters
    ----------
    frame : av.VideoFrame
    stream : av.VideoStream
        Where it comes from.
    reformatter : av.video.reformatter.VideoReformatter
        Of the film: it keeps its tables from frame to frame, which take longer to make than a frame to convert.

    Returns
    -------
    (array of uint8 (3, y, x), words for what was done to it)

    Raises
    ------
    StimulusError
        If it has more pixels than :data:`~netphys.stimuli.readers.decoding.MAX_PIXELS`.
    """
    from PIL import Image

    words = [f"{frame.format.name} to RGB"] * (frame.format.name not in ("rgb24", "gbrp"))
    if frame.width * frame.height > MAX_PIXELS:
        raise StimulusError(f"a frame of {frame.width} x {frame.height} pixels, over {MAX_PIXELS}")
    if any(component.is_alpha for component in frame.format.components):
        pixels, said = picture_pixels(Image.fromarray(reformatter.reformat(frame, format="rgba").to_ndarray()))
        words += said
    else:
        pixels = reformatter.reformat(frame, format="rgb24").to_ndarray().transpose(2, 0, 1)
    aspect = stream.sample_aspect_ratio
    words += [f"pixels of aspect {aspect} taken as square"] * (aspect not in (None, 0, 1))
    turned, said_turned = _turned(pixels, frame)
    return np.ascontiguousarray(turned), (*words, *said_turned)


def _turned(pixels: np.ndarray, frame: Any) -> Frame:
    """Turn and flip a picture (channel, y, x) as its display matrix says."""
    matrix = next((each for each in frame.side_data if each.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return pixels, ()
    # x' = a x + c y, y' = b x + d y; 16.16 fixed point, in the order a, b, u, c, d, v, x, y, w
    a, b, _, c, d = (
        int(np.sign(each)) * (abs(int(each)) > 1 << 15) for each in np.frombuffer(bytes(matrix), "<i4")[:5]
    )
    if (a, b, c, d) == (1, 0, 0, 1):
        return pixels, ()
    if abs(a) + abs(b) != 1 or abs(c) + abs(d) != 1 or abs(a) + abs(c) != 1:
        return pixels, ("not turned: its angle is no quarter turn",)
    across, down = (a, d) if a else (c, b)
    shown = pixels if a else pixels.transpose(0, 2, 1)
    return shown[:, ::down, ::across], ("turned as the film says",)
