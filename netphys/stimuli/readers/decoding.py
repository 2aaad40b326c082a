"""One image file becomes uint8 pixels (3, y, x), the same everywhere, or a clear error.

Conversions are explicit, and said: grey is repeated in three channels, a palette is looked up, 16 bit are divided by
257, alpha is laid over mid-grey (127), CMYK becomes RGB, the EXIF orientation is applied.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable
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
    "MID_GREY",
    "decode_image",
    "decode_picture",
    "decode_values",
    "opened",
    "picture_pixels",
]

Place = Callable[[tuple[int, ...]], "np.ndarray | None"]

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
LEAVES_OUT = "; skip_broken=True (--skip-broken) leaves such images out"  # the end of a message on a broken image
MAX_PIXELS = 64_000_000  # a stimulus of 8000 x 8000; more is a decompression bomb or a mistake
_FREE_PIXELS = 16_000_000  # of an image of any size on disk
_PIXELS_A_BYTE = (
    1100  # of larger ones: deflate reaches 1032, photographs 10; memory is taken before a file's end is met
)
_FEW_PIXELS = 1 << 13  # of an image whose three calls of PIL take longer than the pixels
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")
MID_GREY = 127
_ORIENTATION = 0x0112  # EXIF
_WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")
_STRETCHED = {"L;2": 85, "L;4": 17}  # PIL brings grey of 2 and 4 bit to 0..255
_SAY_ORIENTATION = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}  # in what PIL knows of a file


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


def decode_picture(
    file: Path | BinaryIO, *, name: str | None = None, place: Place | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Decode an image file, as :func:`decode_image`; and say in words what was done to it.

    Of a shape, `place` returns an array of uint8 that the pixels may be written to and that is then the value, or None.
    """
    with _decoding(file, name) as image:
        return picture_pixels(image, name=f"image {name or file}", place=place)


def picture_pixels(
    image: Image.Image, *, name: str = "the image", place: Place | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Convert a PIL image to uint8 (3, y, x), as files are; say in words how. Messages call it `name`.

    Raises
    ------
    StimulusError
        If it holds floats, which have no defined white. Of a damaged file PIL raises anything.
    """
    deep, turned = _is_deep(image), hasattr(image, "tag_v2") and _says_turn(image)  # PIL turns a TIFF while it loads
    image.load()
    if (
        not turned and not _SAY_ORIENTATION.isdisjoint(image.info) and _says_turn(image)
    ):  # looking takes as long as opening
        turned, image = True, _turned(image)
    pixels, said = _rgb(image, name, place)
    words = [*said, *["16 bit colours cut to 8"] * deep, *["turned as EXIF says"] * turned]
    return pixels, (*words, *["first of several frames"] * bool(getattr(image, "is_animated", False)))


def _says_turn(image: Image.Image) -> bool:
    """Tell whether the EXIF orientation is one that turns or mirrors."""
    return image.getexif().get(_ORIENTATION, 1) in range(2, 9)


def _turned(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def decode_values(file: Path | BinaryIO, *, name: str | None = None) -> np.ndarray:
    """Decode an image file whose numbers mean something: labels of classes, masks, depth, disparity.

    Returns
    -------
    array of uint8, int32 where there are more than 8 bit, or float32, (y, x)
        The numbers as they lie in the file: of a palette the index, of 1 bit 0 and 1, of 2 bit 0 to 3.

    Raises
    ------
    StimulusError
        As :func:`decode_image`; and if it has several channels.
    """
    with _decoding(file, name) as image:
        stretched = _STRETCHED.get(_raw_mode(image), 1)
        image.load()
        if len(image.getbands()) != 1:
            raise StimulusError(f"{name or file} has {len(image.getbands())} channels; numbers are in a file of one")
        values = np.asarray(image)
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    return values.astype(np.uint8) // stretched if values.dtype in (bool, np.uint8) else values.astype(np.int32)


class _decoding:
    """Open an image as a stranger's; every failure becomes one line."""

    def __init__(self, file: Path | BinaryIO, name: str | None) -> None:
        self._file, self._called = file, name or str(file)

    def __enter__(self) -> Image.Image:
        try:
            n_bytes = _n_bytes(self._file)
            self._image = opened(self._file)
            width, height = self._image.size
            if width * height > min(MAX_PIXELS, max(_FREE_PIXELS, _PIXELS_A_BYTE * n_bytes)):
                self._image.close()
                claim = f"{width} x {height} pixels"
                if width * height > MAX_PIXELS:
                    raise StimulusError(f"image {self._called} has {claim}, over {MAX_PIXELS}")
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
    if isinstance(file, io.BytesIO):
        return file.getbuffer().nbytes
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
    return len(image.getbands()) > 1 and ";16" in _raw_mode(image)


def _raw_mode(image: Image.Image) -> str:
    """Say how pixels lie in a file that is not loaded yet, in PIL's words."""
    tiles = getattr(image, "tile", None) or [("", None, 0, "")]
    raw = tiles[0][3]
    raw = raw[0] if isinstance(raw, tuple) and raw else raw
    return raw if isinstance(raw, str) else ""


def _rgb(image: Image.Image, name: str, place: Place | None) -> tuple[np.ndarray, list[str]]:
    """Convert a loaded PIL image to uint8 (3, y, x); say how."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return _planes(image, place), []
    from PIL import Image

    if image.mode.startswith("I;16") or image.mode == "I":
        return _deep_grey(image, name)
    if image.mode == "F":
        raise StimulusError(f"{name} holds floats, which have no defined white; convert it to 8 or 16 bit")
    said = ["grey repeated"] * (image.mode in ("1", "L", "LA", "La"))
    said += ["palette looked up"] * (image.mode in ("P", "PA"))
    said += [f"{image.mode} to RGB"] * (image.mode in ("CMYK", "YCbCr", "LAB", "HSV"))
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        shown = image.convert("RGBA")
        ground = Image.new("RGBA", shown.size, (MID_GREY, MID_GREY, MID_GREY, 255))
        return _planes(Image.alpha_composite(ground, shown).convert("RGB"), place), [*said, "alpha over mid-grey"]
    return _planes(image.convert("RGB"), place), said


def _deep_grey(image: Image.Image, name: str) -> tuple[np.ndarray, list[str]]:
    """Convert grey of 16 bit; one value of it may be declared transparent."""
    values = np.asarray(image).astype(np.int64)
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise StimulusError(
            f"{name} holds whole numbers from {values.min()} to {values.max()}, which have no defined white; "
            "convert it to 8 or 16 bit, or read them as numbers (COLUMN:values)"
        )
    grey = ((values + 128) // 257).astype(np.uint8)
    said = ["16 bit grey divided by 257", "grey repeated"]
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey[values == clear] = MID_GREY
        said.append("alpha over mid-grey")
    return np.repeat(grey[None], 3, axis=0), said


def _planes(image: Image.Image, place: Place | None) -> np.ndarray:
    """Return the colours of an RGB image one after the other; in half the time that transposing (y, x, 3) takes."""
    width, height = image.size
    found = place((3, height, width)) if place is not None else None
    pixels = np.empty((3, height, width), dtype=np.uint8) if found is None else found
    if width * height <= _FEW_PIXELS:
        lines = np.frombuffer(image.tobytes("raw", "RGB;L"), dtype=np.uint8)  # each line red, then green, then blue
        pixels[:] = lines.reshape(height, 3, width).transpose(1, 0, 2)
        return pixels
    for plane, colour in zip(pixels, "RGB"):
        memoryview(plane).cast("B")[:] = image.tobytes("raw", colour)
    return pixels
