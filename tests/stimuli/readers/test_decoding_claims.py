"""Images that claim more than they hold, and what PIL's plug-ins can be driven to."""

from __future__ import annotations

import io
import logging
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from netphys.errors import StimulusError
from netphys.stimuli.readers import decoding
from netphys.stimuli.readers.decoding import decode_image

RGB = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)


def encoded(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image or Image.fromarray(RGB)).save(buffer, kind, **options)
    return buffer.getvalue()


def png_of(width: int, height: int, *more: tuple[bytes, bytes]) -> bytes:
    """Write a PNG that claims a size, with further chunks."""
    chunks = [(b"IHDR", struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)), *more, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data)) for kind, data in chunks
    )


def refused(data: bytes, said: str) -> None:
    with pytest.raises(StimulusError, match=said) as caught:
        decode_image(io.BytesIO(data), name="a.png")
    assert "\n" not in str(caught.value) and "a.png" in str(caught.value)


def test_a_size_that_the_bytes_cannot_mean_takes_no_memory() -> None:
    tracemalloc.start()
    refused(
        png_of(7990, 7990, (b"IDAT", zlib.compress(b"\0" * 100))), "claims 7990 x 7990 pixels from 1?[0-9]{2} bytes"
    )
    refused(png_of(60_000, 60_000), "has 60000 x 60000 pixels, over|has more pixels than")
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_a_large_image_of_one_colour_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deflate reaches 1032 bytes a byte; what is under the limit of any size is not compared at all."""
    flat = encoded("PNG", Image.new("RGB", (1500, 1500), (9, 9, 9)), compress_level=9)
    monkeypatch.setattr(decoding, "_FREE_PIXELS", 1000)
    assert decode_image(io.BytesIO(flat), name="a.png").shape == (3, 1500, 1500)
    monkeypatch.setattr(decoding, "_PIXELS_A_BYTE", 10)  # control: the comparison is made
    refused(flat, "claims 1500 x 1500 pixels")


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "iCCP"])
def test_text_and_profiles_that_unpack_to_much_are_refused_or_left_alone(kind: str) -> None:
    packed = zlib.compress(bytes(200 << 20), 9)
    head = {"zTXt": b"key\0\0", "iTXt": b"key\0\1\0\0\0", "iCCP": b"profile\0\0"}[kind]
    pixels = zlib.compress(b"".join(b"\0" + bytes(9) for _ in range(3)))
    data = png_of(3, 3, (kind.encode(), head + packed), (b"IDAT", pixels))
    tracemalloc.start()
    try:
        assert decode_image(io.BytesIO(data), name="a.png").shape == (3, 3, 3)
    except StimulusError as error:
        assert "a.png is broken" in str(error)
    assert tracemalloc.get_traced_memory()[1] < 80 << 20  # PIL's own limit for all texts is 64 MB
    tracemalloc.stop()


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize(
    ("tag", "value"), [(256, 1 << 30), (257, 1 << 30), (277, 60_000), (278, 1 << 30), (279, 1 << 31)]
)
def test_claims_of_a_tiff_are_refused_or_change_nothing(tag: int, value: int, compression: str) -> None:
    """Width, height, channels, rows of a strip, bytes of a strip."""
    data = bytearray(encoded("TIFF", compression=compression))
    first = struct.unpack_from("<L", data, 4)[0]
    n_tags = struct.unpack_from("<H", data, first)[0]
    places = range(first + 2, first + 2 + 12 * n_tags, 12)
    at = next(each for each in places if data[each : each + 2] == struct.pack("<H", tag))
    struct.pack_into("<HHLL", data, at, tag, 4, 1, value)
    tracemalloc.start()
    try:
        assert np.array_equal(decode_image(io.BytesIO(bytes(data)), name="a.tif"), RGB.transpose(2, 0, 1))
        assert tag in (278, 279)  # what PIL computes itself
    except StimulusError as error:
        assert "a.tif" in str(error) and "\n" not in str(error)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_a_switch_that_hides_broken_images_is_off_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES  # nothing in netphys turns it on
    cut = encoded("JPEG", Image.fromarray(np.tile(RGB, (9, 9, 1))))[:4000]
    refused(cut, "is broken: .*truncated")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    decoding._say_truncated.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            decode_image(io.BytesIO(cut), name="a.png")
    assert caplog.text.count("LOAD_TRUNCATED_IMAGES is on in this program") == 1
    decoding._say_truncated.cache_clear()


def test_other_formats_that_pil_knows_are_not_opened(tmp_path: Path) -> None:
    """PostScript would start a program, and a PNG's name does not say what it is."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(StimulusError, match="a.png is broken: not an image that can be read"):
        decode_image(tmp_path / "a.png")
    refused(encoded("GIF"), "is broken: not an image that can be read")
    info = PngImagePlugin.PngInfo()
    info.add_text("note", "x" * 1000)
    assert decode_image(io.BytesIO(encoded("PNG", pnginfo=info)), name="a.png").shape == (3, 20, 24)  # control
