"""One image file becomes uint8 pixels (3, y, x), the same everywhere, or a clear error.

Conversions are explicit, and said: grey is repeated in three channels, a palette is looked up, 16 bit are divided by
257, alpha is laid over mid-grey (127), CMYK becomes RGB, the EXIF orientation is applied.
"""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from netphys.errors import StimulusError

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "IMAGE_SUFFIXES",
    "LEAVES_OUT",
    "MAX_PIXELS",
    "decode_image",
    "decode_picture",
    "decode_values",
    "opened",
    "picture_pixels",
]

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
LEAVES_OUT = "; skip_broken=True (--skip-broken) leaves such images out"  # the end of a message on a broken image
MAX_PIXELS = 64_000_000  # a stimulus of 8000 x 8000; more is a decompression bomb or a mistake
_FREE_PIXELS = 16_000_000  # of an image of any size on disk
_PIXELS_A_BYTE = (
    1100  # of larger ones: deflate reaches 1032, photographs 10; memory is taken before a file's end is met
)
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
_MID_GREY = 127
_ORIENTATION = 0x0112  # EXIF


def decode_image(file: Path | BinaryIO, *, name: str | None = None) -> np.ndarray:
    """Decode an image file.

    Parameters
    ----------
    file : Path or open file
        PNG, JPEG, TIFF, WebP or BMP.
    name : str, optional
        What messages call it; default its path.

    Returns
    -------
    array of uint8 (3, y, x)

    Raises
    ------
    StimulusError
        If it is no image, truncated, or larger than :data:`MAX_PIXELS`.
    """
    return decode_picture(file, name=name)[0]


def decode_picture(file: Path | BinaryIO, *, name: str | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Decode an image file, as :func:`decode_image`; and say in words what was done to it."""
    with _decoding(file, name) as image:
        return picture_pixels(image, name=f"image {name or file}")


def picture_pixels(image: Image.Image, *, name: str = "the image") -> tuple[np.ndarray, tuple[str, ...]]:
    """Convert a PIL image to uint8 (3, y, x), as files are; say in words how. Messages call it `name`.

    Raises
    ------
    StimulusError
        If it holds floats, which have no defined white. Of a damaged file PIL raises anything.
    """
    from PIL import ImageOps

    deep = _is_deep(image)
    image.load()
    turned = image.getexif().get(_ORIENTATION, 1) not in (0, 1)
    pixels, said = _rgb(ImageOps.exif_transpose(image) if turned else image, name)
    words = [*said, *["16 bit colours cut to 8"] * deep, *["turned as EXIF says"] * turned]
    return pixels, tuple(words)


def decode_values(file: Path | BinaryIO, *, name: str | None = None) -> np.ndarray:
    """Decode an image file whose numbers mean something: labels of classes, masks, depth, disparity.

    Returns
    -------
    array of uint8, or int32 where there are more than 8 bit, (y, x)
        The numbers as they lie in the file: of a palette the index, of 1 bit 0 and 1.

    Raises
    ------
    StimulusError
        As :func:`decode_image`; and if it has several channels.
    """
    with _decoding(file, name) as image:
        image.load()
        if len(image.getbands()) != 1:
            raise StimulusError(f"{name or file} has {len(image.getbands())} channels; numbers are in a file of one")
        values = np.asarray(image)
    return values.astype(np.uint8 if values.dtype in (bool, np.uint8) else np.int32)


class _decoding:
    """Open an image as a stranger's; every failure becomes one line."""

    def __init__(self, file: Path | BinaryIO, name: str | None) -> None:
        self._file, self._called = file, name or str(file)

    def __enter__(self) -> Image.Image:
        try:
            n_bytes = _n_bytes(self._file)
            self._image = opened(self._file)
            claim = f"{self._image.width} x {self._image.height} pixels"
            n_pixels = self._image.width * self._image.height
            if n_pixels > MAX_PIXELS:
                self._image.close()
                raise StimulusError(f"image {self._called} has {claim}, over {MAX_PIXELS}")
            if n_pixels > max(_FREE_PIXELS, _PIXELS_A_BYTE * n_bytes):
                self._image.close()
                raise StimulusError(f"image {self._called} is broken: it claims {claim} from {n_bytes} bytes")
        except Exception as error:
            raise self._said(error) from None
        return self._image

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._image.close()
        if isinstance(error, Exception):
            raise self._said(error) from None

    def _said(self, error: Exception) -> Exception:
        from PIL import Image

        if isinstance(error, StimulusError):
            return error
        if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
            return StimulusError(f"image {self._called} has more pixels than {MAX_PIXELS}")
        if isinstance(error, FileNotFoundError):
            return StimulusError(f"image {self._called} is not there")
        # PIL's plug-ins raise anything on broken files
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "cannot identify" in reason:
            reason = "not an image that can be read"
        return StimulusError(f"image {self._called} is broken: {reason}{LEAVES_OUT}")


def opened(file: Path | BinaryIO) -> Image.Image:
    """Open an image of a format that is read here; its pixels are not decoded yet."""
    from PIL import Image, ImageFile

    if ImageFile.LOAD_TRUNCATED_IMAGES:
        _say_truncated()
    return Image.open(file, formats=_FORMATS)


def _n_bytes(file: Path | BinaryIO) -> int:
    """Count the bytes of a file; an open one is left where it was."""
    if isinstance(file, Path):
        return file.stat().st_size
    here = file.tell()
    n_bytes = file.seek(0, os.SEEK_END)
    file.seek(here)
    return n_bytes


@lru_cache(maxsize=1)
def _say_truncated() -> None:
    """Say once that somebody's switch hides broken images."""
    log.warning(
        "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on in this program: images that are cut off are shown grey from there "
        "on, and not named as broken; set it to False"
    )


def _is_deep(image: Image.Image) -> bool:
    """Tell whether PIL reads colours of 16 bit by their upper 8."""
    tiles = getattr(image, "tile", None) or [("", None, 0, "")]
    raw = tiles[0][3]
    raw = raw[0] if isinstance(raw, tuple) else raw
    return len(image.getbands()) > 1 and isinstance(raw, str) and ";16" in raw


def _rgb(image: Image.Image, name: str) -> tuple[np.ndarray, list[str]]:
    """Convert a loaded PIL image to uint8 (3, y, x); say how."""
    from PIL import Image

    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image).astype(np.int64)
        grey = np.clip((values + 128) // 257, 0, 255).astype(np.uint8)
        return np.repeat(grey[None], 3, axis=0), ["16 bit grey divided by 257", "grey repeated"]
    if image.mode == "F":
        raise StimulusError(f"{name} holds floats, which have no defined white; convert it to 8 or 16 bit")
    said = ["grey repeated"] * (image.mode in ("1", "L", "LA", "La"))
    said += ["palette looked up"] * (image.mode in ("P", "PA"))
    said += [f"{image.mode} to RGB"] * (image.mode in ("CMYK", "YCbCr", "LAB", "HSV"))
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        shown = image.convert("RGBA")
        ground = Image.new("RGBA", shown.size, (_MID_GREY, _MID_GREY, _MID_GREY, 255))
        return _planes(Image.alpha_composite(ground, shown).convert("RGB")), [*said, "alpha over mid-grey"]
    return _planes(image if image.mode == "RGB" else image.convert("RGB")), said


def _planes(image: Image.Image) -> np.ndarray:
    """Return the colours of an RGB image one after the other; in half the time that transposing (y, x, 3) takes."""
    colours = bytearray().join(image.tobytes("raw", colour) for colour in "RGB")
    return np.frombuffer(colours, dtype=np.uint8).reshape(3, image.height, image.width)
