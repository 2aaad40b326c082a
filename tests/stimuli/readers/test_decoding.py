"""decode_image: the same pixels from every kind of file, or one clear error."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netphys.errors import StimulusError
from netphys.stimuli.readers import decoding
from netphys.stimuli.readers.decoding import decode_image

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def _decoded(path: Path, image: Image.Image, **options: object) -> np.ndarray:
    image.save(path, **options)
    pixels = decode_image(path)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous and pixels.shape[0] == 3
    return pixels.transpose(1, 2, 0)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp"])
def test_rgb_is_exact_in_every_lossless_format(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    assert np.array_equal(_decoded(tmp_path / f"a.{suffix}", Image.fromarray(RGB), **options), RGB)


def test_grey_is_repeated_in_three_channels(tmp_path: Path) -> None:
    shown = _decoded(tmp_path / "a.png", Image.fromarray(RGB[..., 0]))
    assert all(np.array_equal(shown[..., channel], RGB[..., 0]) for channel in range(3))
    bits = _decoded(tmp_path / "b.png", Image.fromarray(RGB[..., 0] > 127))
    assert np.array_equal(bits[..., 1], np.where(RGB[..., 0] > 127, 255, 0))


def test_sixteen_bit_grey_is_divided_by_257(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    shown = _decoded(tmp_path / "a.png", Image.fromarray(values))
    assert shown[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
    # control: PIL's own conversion of 16 bit grey clips everything over 255 to white
    assert np.asarray(Image.fromarray(values.astype(np.int32)).convert("L")).max(initial=0) == 255
    assert shown[0, 3, 0] != 255


def test_alpha_lies_over_mid_grey(tmp_path: Path) -> None:
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0] = [[200, 100, 0, 255], [200, 100, 0, 0], [255, 255, 255, 128]]
    shown = _decoded(tmp_path / "a.png", Image.fromarray(rgba))
    assert shown[0, 0].tolist() == [200, 100, 0] and shown[0, 1].tolist() == [127, 127, 127]
    assert shown[0, 2, 0] == round(255 * 128 / 255 + 127 * 127 / 255)
    grey = _decoded(tmp_path / "b.png", Image.fromarray(rgba[..., [0, 3]], mode="LA"))
    assert grey[0].tolist() == [[200] * 3, [127] * 3, [191] * 3]


def test_a_palette_is_looked_up_with_its_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([2, 0, 1])
    assert _decoded(tmp_path / "a.png", image)[0].tolist() == [[70, 80, 90], [10, 20, 30], [40, 50, 60]]
    shown = _decoded(tmp_path / "b.png", image, transparency=0)
    assert shown[0].tolist() == [[70, 80, 90], [127, 127, 127], [40, 50, 60]]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow ink: red
    shown = _decoded(tmp_path / "a.tiff", image)
    assert shown[8, 8].tolist() == [255, 0, 0]
    jpeg = _decoded(tmp_path / "a.jpg", image, quality=95)
    assert np.abs(jpeg[8, 8].astype(int) - [255, 0, 0]).max() <= 4  # JPEG's own loss on a flat image


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    turns = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = _decoded(tmp_path / "a.png", Image.fromarray(RGB), exif=exif)
    assert np.array_equal(shown, turns[orientation](RGB))


def test_errors_name_the_image_and_the_reason(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jpg"
    Image.fromarray(np.tile(RGB, (20, 20, 1))).save(whole)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(
        StimulusError, match=r"image face/1.jpg is broken: .*truncated.*; skip_broken=True \(--skip-broken\) leaves"
    ):
        decode_image(broken, name="face/1.jpg")
    broken.write_bytes(b"no image")
    with pytest.raises(StimulusError, match="is broken: not an image that can be read"):
        decode_image(broken)
    with pytest.raises(StimulusError, match="is not there"):
        decode_image(tmp_path / "absent.png")
    Image.fromarray(RGB[..., 0].astype(np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(
        StimulusError, match="image .*float.tiff holds floats, which have no defined white; convert it to 8 or 16"
    ):
        decode_image(tmp_path / "float.tiff")


def test_too_many_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(decoding, "MAX_PIXELS", 34)
    with pytest.raises(StimulusError, match="has 7 x 5 pixels, over 34"):
        decode_image(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # PIL's own refusal comes first at more than twice its limit
    with pytest.raises(StimulusError, match="has more pixels than"):
        decode_image(tmp_path / "a.png")


def test_decoding_in_threads_leaves_the_warnings_filters_as_found(tmp_path: Path) -> None:
    Image.fromarray(np.tile(RGB, (20, 20, 1))).save(tmp_path / "a.jpg")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode_image, [tmp_path / "a.jpg"] * 200))
    assert warnings.filters == before


def _mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip bytes, cut, insert, copy a block, or swap the halves."""
    values, n = bytearray(data), len(data)
    kind = rng.integers(5)
    if kind == 0:
        for at in rng.integers(0, n, 8):
            values[at] = rng.integers(256)
    elif kind == 1:
        values = values[: rng.integers(1, n)]
    elif kind == 2:
        at = int(rng.integers(n))
        values[at:at] = rng.bytes(16)
    elif kind == 3:
        source, target = rng.integers(0, n - 16, 2)
        values[target : target + 16] = values[source : source + 16]
    else:
        values = values[n // 2 :] + values[: n // 2]
    return bytes(values)


def test_fuzz_only_stimulus_errors_come_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image, outcomes = Image.fromarray(np.tile(RGB, (4, 4, 1))), {"read": 0, "refused": 0}
    for suffix in ("png", "jpg", "tiff", "webp", "bmp"):
        image.save(tmp_path / f"seed.{suffix}")
        seed = (tmp_path / f"seed.{suffix}").read_bytes()
        for index in range(12):
            path = tmp_path / f"{index}.{suffix}"
            path.write_bytes(_mutated(seed, rng))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PIL warns of odd metadata
                try:
                    pixels = decode_image(path)
                except StimulusError as error:
                    assert "\n" not in str(error)
                    outcomes["refused"] += 1
                else:
                    assert pixels.dtype == np.uint8 and pixels.shape[0] == 3
                    outcomes["read"] += 1
    assert outcomes["read"] > 5 and outcomes["refused"] > 15  # both happen, so the fuzz reaches something


def test_words_are_those_of_what_was_done(tmp_path: Path) -> None:
    from netphys.stimuli.readers.decoding import decode_picture

    path, image = tmp_path / "a.tiff", Image.fromarray(RGB)
    for orientation in (1, 3, 6, 9):  # PIL turns a TIFF while it loads it; 9 is no orientation
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(path, exif=exif)
        pixels, words = decode_picture(path)
        turned = {3: RGB[::-1, ::-1], 6: np.rot90(RGB, -1)}.get(orientation, RGB)
        assert np.array_equal(pixels.transpose(1, 2, 0), turned), orientation
        assert words == (("turned as EXIF says",) if orientation in (3, 6) else ()), orientation
    lab = Image.new("LAB", (3, 2), (50, 120, 130))
    lab.save(tmp_path / "lab.tiff")
    assert decode_picture(tmp_path / "lab.tiff")[1] == ("LAB to RGB",)
    image.save(tmp_path / "two.tiff", save_all=True, append_images=[image.rotate(90)])
    assert decode_picture(tmp_path / "two.tiff")[1] == ("first of several frames",)
    image.save(tmp_path / "moving.webp", save_all=True, append_images=[image.transpose(0)], lossless=True)
    assert "first of several frames" in decode_picture(tmp_path / "moving.webp")[1]


def test_deep_grey_has_bounds_and_may_be_transparent(tmp_path: Path) -> None:
    from netphys.stimuli.readers.decoding import decode_picture

    Image.fromarray(np.array([[0, 70_000, -3]], dtype=np.int32)).save(tmp_path / "wide.tiff")
    with pytest.raises(StimulusError, match="whole numbers from -3 to 70000, which have no defined white"):
        decode_image(tmp_path / "wide.tiff")
    Image.fromarray(np.array([[0, 257, 514]], dtype=np.uint16)).save(tmp_path / "clear.png", transparency=257)
    pixels, words = decode_picture(tmp_path / "clear.png")
    assert "alpha over mid-grey" in words and pixels[0, 0].tolist() == [0, 127, 2]


def test_numbers_lie_in_files_as_they_are(tmp_path: Path) -> None:
    from netphys.stimuli.readers.decoding import decode_values

    depth = np.array([[0.25, 1.75], [2.5, 3.9]], dtype=np.float32)
    Image.fromarray(depth).save(tmp_path / "depth.tiff")
    assert np.array_equal(decode_values(tmp_path / "depth.tiff"), depth)  # not cut to whole numbers
    for bits in (2, 4):
        labels = np.arange(2**bits, dtype=np.uint8)[None]
        (tmp_path / f"{bits}.png").write_bytes(_grey_png(labels, bits))
        assert np.array_equal(decode_values(tmp_path / f"{bits}.png"), labels)
        assert decode_image(tmp_path / f"{bits}.png")[0].max() == 255  # control: a picture of it is stretched


def _grey_png(values: np.ndarray, bits: int) -> bytes:
    """Write grey of a few bit; PIL writes 8."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    digits = [np.unpackbits(row[:, None], axis=1)[:, 8 - bits :].ravel() for row in values]
    lines = b"".join(b"\0" + np.packbits(each).tobytes() for each in digits)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
