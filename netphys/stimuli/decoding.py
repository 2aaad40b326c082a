"""One image file becomes uint8 pixels (3, y, x), the same everywhere, or a clear error.

Conversions are explicit: grey is repeated in three channels, a palette is looked up, 16 bit are divided by 257, alpha
is laid over mid-grey (127), CMYK becomes RGB, the EXIF orientation is applied.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netphys.errors import StimulusError

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "decode_image"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
MAX_PIXELS = 64_000_000  # a stimulus of 8000 x 8000; more is a decompression bomb or a mistake
_MID_GREY = 127


def decode_image(path: Path, *, name: str | None = None) -> np.ndarray:
    """Decode an image file.

    Parameters
    ----------
    path : Path
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
    from PIL import Image, ImageOps

    called = name or str(path)
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise StimulusError(f"image {called} has {image.width} x {image.height} pixels, over {MAX_PIXELS}")
            image.load()
            pixels = _rgb(ImageOps.exif_transpose(image))
    except StimulusError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise StimulusError(f"image {called} has more pixels than {MAX_PIXELS}") from None
    except FileNotFoundError:
        raise StimulusError(f"image {called} is not there") from None
    except Exception as error:  # PIL's plug-ins raise anything on broken files
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "cannot identify" in reason:
            reason = "not an image that can be read"
        raise StimulusError(f"image {called} is broken: {reason}; --skip-broken leaves such images out") from None
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _rgb(image: object) -> np.ndarray:
    """Convert a loaded PIL image to uint8 (y, x, 3)."""
    from PIL import Image

    assert isinstance(image, Image.Image)
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image).astype(np.int64)
        grey = np.clip((values + 128) // 257, 0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise StimulusError("float images have no defined white; convert them to 8 or 16 bit")
    if "A" in image.getbands() or "transparency" in image.info:
        shown = image.convert("RGBA")
        ground = Image.new("RGBA", shown.size, (_MID_GREY, _MID_GREY, _MID_GREY, 255))
        return np.asarray(Image.alpha_composite(ground, shown).convert("RGB"))
    return np.asarray(image.convert("RGB"))
