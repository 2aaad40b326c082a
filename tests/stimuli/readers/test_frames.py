"""Frames by number: exact in any order, from every container; damaged films are one line."""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from netphys.errors import StimulusError
from netphys.stimuli.readers import frames as module
from netphys.stimuli.readers.frames import Film, open_film

av = pytest.importorskip("av", reason="films are read by PyAV (extra video)")

SIZE = (48, 64)  # y, x
N = 40
KINDS = {
    "h264.mp4": ("libx264", "yuv420p", 2), "h264.mkv": ("libx264", "yuv420p", 2), "h264.mov": ("libx264", "yuv420p", 0),
    "mpeg4.mp4": ("mpeg4", "yuv420p", 2), "mpeg4.avi": ("mpeg4", "yuv420p", 2), "plain.avi": ("mpeg4", "yuv420p", 0),
    "mjpeg.avi": ("mjpeg", "yuvj420p", 0), "vp9.webm": ("libvpx-vp9", "yuv420p", 0), "ffv1.mkv": ("ffv1", "yuv444p", 0),
}  # fmt: skip


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A frame (y, x, 3) that carries its number: eight bars, one a bit."""
    bits = [255 * (number >> bit & 1) for bit in range(8)]
    row = np.repeat(np.array(bits, dtype=np.uint8), size[1] // 8)
    return np.broadcast_to(row[None, :, None], (*size, 3)).copy()


def number_of(pixels: np.ndarray) -> int:
    """Read the number back from (3, y, x)."""
    bars = pixels[0, pixels.shape[1] // 2].reshape(8, -1).mean(axis=1)
    return sum(int(bar > 127) << bit for bit, bar in enumerate(bars))


def film(path: Path, *, n: int = N, times: list[int] | None = None, kind: str = "", gop: int = 12) -> Path:
    """Write a film whose frames carry their numbers."""
    codec, form, out_of_order = KINDS[kind or path.name]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], form
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = gop, out_of_order
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(n):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def opened(path: Path) -> Film:
    return open_film(path.open("rb"), path.name)


def sequential(path: Path) -> list[np.ndarray]:
    """Decode from start to end with PyAV alone."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").transpose(2, 0, 1) for frame in container.decode(video=0)]


@pytest.fixture(scope="module", params=list(KINDS))
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    codec = KINDS[request.param][0]
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    return film(tmp_path_factory.mktemp("films") / request.param)


def test_every_frame_in_any_order_is_that_of_a_sequential_decode(written: Path) -> None:
    shown, whole = opened(written), sequential(written)
    assert shown.n_frames == N == len(whole) and shown.size == SIZE and shown.rate == 25
    assert shown.times is not None and np.allclose(shown.times, np.arange(N) / 25, atol=1e-3)  # mkv: 1 ms
    order = np.random.default_rng(0).permutation(N)
    for number in order:
        pixels = shown.frames([int(number)])[0][0]
        assert number_of(pixels) == number and np.array_equal(pixels, whole[number])
    assert number_of(shown.frames([3])[0][0]) != 4  # control: the number read back tells frames apart


def test_frames_asked_for_together_come_in_the_order_asked_for(written: Path) -> None:
    wanted = [30, 2, 2, 39, 0, 31]
    assert [number_of(pixels) for pixels, _ in opened(written).frames(wanted)] == wanted


class _Counting:
    """Frames, counted as they are decoded."""

    def __init__(self, frames: Any, counted: list[int]) -> None:
        self._frames, self._counted = frames, counted

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        frame = next(self._frames)
        self._counted[0] += 1
        return frame


def _decodes(shown: Any) -> list[int]:
    """Count the frames that are decoded from now on."""
    counted = [0]
    forward = shown._forward

    def counting(number: int) -> Any:
        if not isinstance(shown._decoded, _Counting):
            shown._decoded = _Counting(shown._decoded, counted)
        return forward(number)

    shown._forward = counting
    return counted


def test_a_far_frame_is_reached_from_its_key_frame_and_the_next_ones_are_not_decoded_again(tmp_path: Path) -> None:
    path = film(tmp_path / "h264.mp4", n=200)
    shown = opened(path)
    counted = _decodes(shown)
    shown.frames([150])
    first = counted[0]
    assert first <= 12 + 3  # at most the group of 12 pictures, and those that B frames put between
    shown.frames(range(151, 171))
    assert counted[0] - first == 20
    shown.frames(range(151, 171))
    assert counted[0] - first == 20  # kept
    slow = opened(film(tmp_path / "mpeg4.avi", n=200))  # control: counted from the start
    counted = _decodes(slow)
    slow.frames([150])
    assert counted[0] > 100


def test_a_seek_that_leads_past_a_frame_is_mended_from_the_start(tmp_path: Path) -> None:
    shown: Any = opened(film(tmp_path / "h264.mp4"))
    go_to = shown._go_to
    shown._go_to = lambda key: go_to(int(shown._keys[-1]))  # as where a container's key frames are not what they say
    assert [number_of(shown.frames([number])[0][0]) for number in (38, 15, 3)] == [38, 15, 3]
    shown._times = shown._times + 0  # a frame that no packet gives is an error, not its neighbour
    shown._times[20] += 1
    with pytest.raises(StimulusError, match="h264.mp4: frame 20 cannot be decoded; the film is damaged"):
        shown.frames([20])


def test_frames_are_kept_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = opened(film(tmp_path / "h264.mp4"))
    monkeypatch.setattr(module, "_RECENT_BYTES", 3 * 3 * SIZE[0] * SIZE[1])
    shown.frames(range(40))
    assert len(shown._recent) == 3 and shown._recent_bytes == 3 * 3 * SIZE[0] * SIZE[1]


def test_a_turn_is_made_and_said(tmp_path: Path) -> None:
    path = film(tmp_path / "h264.mp4")
    plain = opened(path).frames([21])[0]
    assert "turned" not in " ".join(plain[1])
    data = path.read_bytes()
    place = data.find(b"tkhd") + 44  # the matrix of the track's header
    one, turns = 1 << 16, {}
    turns["quarter"] = (
        (0, one, 0, -one, 0, 0),
        lambda a: np.rot90(a, -1, axes=(1, 2)),
    )  # as phones held upright write it
    turns["half"] = (-one, 0, 0, 0, -one, 0), lambda a: a[:, ::-1, ::-1]
    turns["back"] = (0, -one, 0, one, 0, 0), lambda a: np.rot90(a, 1, axes=(1, 2))
    turns["mirror"] = (-one, 0, 0, 0, one, 0), lambda a: a[:, :, ::-1]
    for name, (matrix, turned) in turns.items():
        other = tmp_path / f"{name}.mp4"
        other.write_bytes(data[:place] + struct.pack(">9i", *matrix, 0, 0, 1 << 30) + data[place + 36 :])
        shown = opened(other)
        pixels, words = shown.frames([21])[0]
        assert np.array_equal(pixels, turned(plain[0])), name
        assert shown.size == pixels.shape[1:] and "turned as the film says" in words
    odd = struct.pack(">9i", 46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30)  # 45 degrees
    (tmp_path / "odd.mp4").write_bytes(data[:place] + odd + data[place + 36 :])
    assert "not turned: its angle is no quarter turn" in opened(tmp_path / "odd.mp4").frames([0])[0][1]


def test_alpha_lies_over_mid_grey_and_unequal_pixels_are_said(tmp_path: Path) -> None:
    rgba = np.zeros((*SIZE, 4), dtype=np.uint8)
    rgba[:, :32] = (200, 100, 0, 255)
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "rgba"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for packet in [*stream.encode(av.VideoFrame.from_ndarray(rgba, format="rgba")), *stream.encode()]:
            container.mux(packet)
    pixels, words = opened(tmp_path / "a.mov").frames([0])[0]
    assert pixels[:, 5, 5].tolist() == [200, 100, 0] and pixels[:, 5, 60].tolist() == [127, 127, 127]
    assert "alpha over mid-grey" in words and "pixels of aspect 4/3 taken as square" in words


def test_frames_of_different_durations_are_said(tmp_path: Path) -> None:
    times = np.cumsum([0, *np.random.default_rng(0).integers(20, 120, N - 1)]).tolist()
    shown = opened(film(tmp_path / "ffv1.mkv", times=times))
    assert shown.times is not None and np.allclose(shown.times * 1000, times, atol=1)
    assert "frames of different durations, by number" in shown.frames([5])[0][1]
    assert [number_of(shown.frames([number])[0][0]) for number in (39, 5, 17)] == [39, 5, 17]
    steady = opened(film(tmp_path / "h264.mkv"))  # control: rounded to 1 ms, and steady
    assert not any("durations" in word for word in steady.frames([5])[0][1])


def test_gif_and_apng_are_exact(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (9, 10, 12, 3), dtype=np.uint8)
    images = [Image.fromarray(each) for each in noise]
    images[0].save(tmp_path / "a.apng", format="PNG", save_all=True, append_images=images[1:], duration=40)
    shown = opened(tmp_path / "a.apng")
    assert shown.n_frames == 9 and shown.rate == pytest.approx(25) and shown.size == (10, 12)
    for number in rng.permutation(9):
        assert np.array_equal(shown.frames([int(number)])[0][0], noise[number].transpose(2, 0, 1))
    greys = [Image.fromarray(picture(number)[..., 0]) for number in range(9)]
    greys[0].save(tmp_path / "a.gif", save_all=True, append_images=greys[1:], duration=[100] * 8 + [500])
    shown = opened(tmp_path / "a.gif")
    assert shown.times is not None and np.allclose(shown.times, np.arange(9) / 10)
    assert [number_of(shown.frames([number])[0][0]) for number in (8, 0, 5)] == [8, 0, 5]


def test_without_pyav_one_line_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = film(tmp_path / "h264.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(StimulusError, match=r"h264.mp4 is read by PyAV, .* pip install 'netphys\[video\]'"):
        opened(path)


def test_a_truncated_film_is_refused_and_named(tmp_path: Path) -> None:
    for name in ("h264.mp4", "h264.mkv", "mpeg4.avi", "vp9.webm", "ffv1.mkv"):
        path = film(tmp_path / name, n=120)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 6 // 10])
        with pytest.raises(StimulusError, match=f"film {name} .*(truncated|damaged)") as caught:
            opened(path)
        assert "\n" not in str(caught.value)
        path.write_bytes(data)
        assert opened(path).n_frames == 120  # control
    path = film(tmp_path / "mpeg4.mp4", n=120)
    with (
        av.open(str(path)) as given,
        av.open(str(tmp_path / "fast.mp4"), "w", options={"movflags": "faststart"}) as taken,
    ):
        stream = taken.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                taken.mux(packet)
    data = (tmp_path / "fast.mp4").read_bytes()  # its header comes first, and is whole
    assert opened(tmp_path / "fast.mp4").n_frames == 120
    for part in (4, 6, 9):
        (tmp_path / "fast.mp4").write_bytes(data[: len(data) * part // 10])
        with pytest.raises(StimulusError, match="fast.mp4 is truncated"):
            opened(tmp_path / "fast.mp4")


def test_a_damaged_frame_is_an_error_not_a_guess(tmp_path: Path) -> None:
    path = film(tmp_path / "mpeg4.mp4")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = {
            packet.pts: (bytes(packet), packet.is_keyframe) for packet in container.demux(video=0) if packet.size
        }
    times = sorted(packets)
    key = next(number for number, pts in enumerate(times) if number > 10 and packets[pts][1])
    place = data.find(packets[times[key]][0])
    data[place + 8 : place + 24] = b"\xff" * 16
    path.write_bytes(data)
    shown = opened(path)
    assert number_of(shown.frames([key - 5])[0][0]) == key - 5
    with pytest.raises(StimulusError, match=f"film mpeg4.mp4.*frame {key}"):
        shown.frames([key])
    assert number_of(shown.frames([key + 12])[0][0]) == key + 12  # those of other groups of pictures are whole


def test_lists_of_other_files_are_not_followed(tmp_path: Path) -> None:
    film(tmp_path / "h264.mp4")
    lists = {
        "a.mkv": "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nh264.mp4\n#EXT-X-ENDLIST\n",
        "b.mp4": "ffconcat version 1.0\nfile h264.mp4\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(StimulusError, match=f"film {name} cannot be read"):
            opened(tmp_path / name)


def test_sounds_alone_and_empty_files_are_no_films(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    with pytest.raises(StimulusError, match="a.mkv holds no moving picture"):
        opened(tmp_path / "a.mkv")
    (tmp_path / "b.mp4").write_bytes(b"")
    with pytest.raises(StimulusError, match="film b.mp4 is empty"):
        opened(tmp_path / "b.mp4")


def _claims(data: bytes) -> list[bytes]:
    """Films that claim what they do not hold: sizes, counts of samples, times."""
    found = []
    for box, at, value in (("tkhd", 80, 0xFFFF0000), ("stsz", 8, 1), ("stsz", 12, 2 * 10**8), ("stts", 12, 2**31 - 1),
                           ("mdhd", 16, 2**32 - 1), ("stco", 8, 2**30), ("stsc", 16, 2**31 - 1)):  # fmt: skip
        place = data.find(box.encode()) + at
        found.append(data[:place] + struct.pack(">I", value) + data[place + 4 :])
    place = data.find(b"avc1") + 28
    return [*found, data[:place] + b"\xff\xff\xff\xff" + data[place + 4 :]]


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip bytes, cut, insert, copy a block, or swap the halves."""
    values, n = bytearray(data), len(data)
    kind = rng.integers(5)
    if kind == 0:
        for at in rng.integers(0, n, 8):
            values[at] = rng.integers(256)
    elif kind == 1:
        values = values[: rng.integers(0, n)]
    elif kind == 2:
        at = int(rng.integers(n))
        values[at:at] = rng.bytes(16)
    elif kind == 3:
        source, target = rng.integers(0, n - 16, 2)
        values[target : target + 16] = values[source : source + 16]
    else:
        values = values[n // 2 :] + values[: n // 2]
    return bytes(values)


def outcomes(path: Path, files: list[bytes], read: Callable[[Path], Any], *, seconds: float = 5) -> dict[str, int]:
    """Read damaged files: only StimulusErrors of one line come out, in time."""
    counted = {"read": 0, "refused": 0}
    for data in files:
        path.write_bytes(data)
        start = time.perf_counter()
        try:
            read(path)
        except StimulusError as error:
            assert "\n" not in str(error) and len(str(error)) < 500
            counted["refused"] += 1
        else:
            counted["read"] += 1
        assert time.perf_counter() - start < seconds
    return counted


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "mpeg4.avi", "vp9.webm"])
def test_fuzz_of_films(tmp_path: Path, name: str) -> None:
    resource = pytest.importorskip("resource")
    rng = np.random.default_rng(0)
    data = film(tmp_path / name).read_bytes()
    files = [mutated(data, rng) for _ in range(30)] + [b"\x00" * 64, data[:8], b"GIF89a", b"\x89PNG\r\n\x1a\n" + data]
    files += _claims(data) if name == "h264.mp4" else []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counted = outcomes(tmp_path / f"x{Path(name).suffix}", files, lambda path: opened(path).frames([0, 20, 5]))
    assert counted["refused"] > 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_fuzz_of_animated_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [Image.fromarray(picture(number)) for number in range(12)]
    for form, name in (("GIF", "a.gif"), ("PNG", "a.apng")):
        images[0].save(tmp_path / name, format=form, save_all=True, append_images=images[1:], duration=40)
        data = (tmp_path / name).read_bytes()
        huge = (
            data[:6] + b"\xff\xff\xff\xff" + data[10:]
            if form == "GIF"
            else data[:16] + b"\x00\x00\xff\xff" * 2 + data[24:]
        )
        files = [mutated(data, rng) for _ in range(30)] + [huge]
        counted = outcomes(tmp_path / f"x{name}", files, lambda path: opened(path).frames([0, 11, 5]))
        assert counted["refused"] > 5
        assert outcomes(tmp_path / f"x{name}", [data], lambda path: opened(path).frames([0, 11, 5]))["read"] == 1
