"""read_video: which frames are in which clip, from films and from folders of frames."""

from __future__ import annotations

import io
import logging
import tracemalloc
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from netphys.errors import NetphysError, OptionError, StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.readers import frames
from netphys.stimuli.readers import video as module
from netphys.stimuli.readers.video import decode_clip, read_video

N = 30


def _bars(number: int) -> np.ndarray:
    """A frame (y, x, 3) that carries its number in eight bars."""
    row = np.repeat(np.array([255 * (number >> bit & 1) for bit in range(8)], dtype=np.uint8), 8)
    return np.broadcast_to(row[None, :, None], (48, 64, 3)).copy()


def _numbers(clip: Any) -> list[int]:
    """Read the numbers of the frames of a clip (t, 3, y, x)."""
    bars = np.asarray(clip)[:, 0, 20].reshape(len(clip), 8, 8).mean(axis=2) > 127
    return [int(sum(int(bar) << bit for bit, bar in enumerate(each))) for each in bars]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A film of 30 frames at 25 frames/s, MPEG-4 with frames out of order."""
    av = pytest.importorskip("av", reason="films are read by PyAV (extra video)")
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 7, 2
        for number in range(N):
            for packet in stream.encode(av.VideoFrame.from_ndarray(_bars(number), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Write frames as PNGs: name → number."""

    def write(files: dict[str, int], name: str = "frames") -> Path:
        for file, number in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(_bars(number)).save(path)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"length": 4}, [range(s, s + 4) for s in range(0, 28, 4)]),
        ({"length": 4, "step": 3}, [range(s, s + 10, 3) for s in (0, 12)]),
        ({"length": 4, "every": 2}, [range(s, s + 4) for s in range(0, 27, 2)]),
        ({"length": 5, "start": 3, "stop": 15}, [range(3, 8), range(8, 13)]),
        ({"length": 30}, [range(30)]),
        ({"length": 10, "step": 3, "start": 2}, [range(2, 30, 3)]),
        ({"length": 1, "every": 10}, [range(1), range(10, 11), range(20, 21)]),
        ({}, [range(30)]),
        ({"step": 7, "start": 2}, [range(2, 30, 7)]),
        ({"stop": 99}, [range(30)]),
    ],
)
def test_clips_hold_the_frames_they_say(film: Path, options: dict[str, Any], expected: list[range]) -> None:
    shown = StimulusSet.from_video(film, **options)
    assert shown.fields == ("clip",) and len(shown) == len(expected)
    clips = shown.get(range(len(shown)), "clip")
    assert isinstance(clips, torch.Tensor) and clips.dtype == torch.uint8
    assert clips.shape == (len(expected), len(expected[0]), 3, 48, 64)
    assert [_numbers(clip) for clip in clips] == [list(each) for each in expected]
    table = shown.metadata
    assert table["start_frame"].tolist() == [each[0] for each in expected]
    assert table["n_frames"].tolist() == [len(each) for each in expected]
    assert np.allclose(table["start_time"], table["start_frame"] / 25)
    assert np.allclose(table["frame_rate"], 25 / options.get("step", 1))
    assert shown.ids[0] == ("film" if "length" not in options else f"film-{expected[0][0]:06d}")


def test_any_order_gives_what_the_sequence_gives(film: Path) -> None:
    shown = StimulusSet.from_video(film, length=4, every=3)
    whole = shown.get(range(len(shown)), "clip")
    again = StimulusSet.from_video(film, length=4, every=3)
    order = np.random.default_rng(0).permutation(len(shown))
    for index in order:
        assert torch.equal(again.get([index], "clip")[0], whole[index])
    assert not torch.equal(whole[0], whole[1])  # control
    assert again.digest == shown.digest and shown[1:].digest != shown.digest
    assert shown.conversions == {"yuv420p to RGB": len(shown)}


def test_single_frames_are_images_with_the_digest_of_their_files(film: Path, folder: Callable[..., Path]) -> None:
    images = StimulusSet.from_video(film, frames=True, step=3, start=1)
    assert images.fields == ("image",) and images.images([0]).shape == (1, 3, 48, 64)
    assert _numbers(images.images(range(10))) == list(range(1, 30, 3)) and images.ids[1] == "film-000004"
    assert len(set(images.ids)) == 10 and images.metadata["start_frame"].tolist() == list(range(1, 30, 3))
    assert np.allclose(images.metadata["start_time"], np.arange(1, 30, 3) / 25)
    assert len(set(StimulusSet.from_video(film, frames=True).ids)) == N
    place = folder({f"film-{number:06d}.png": number for number in range(5)}, "film")
    files = StimulusSet.from_folder(place)
    single = StimulusSet.from_video(place, frames=True)
    named = StimulusSet.from_folder(place, table=files.metadata.assign(stimulus_id=list(single.ids)))
    assert single.digest == named.digest != files.digest  # ids count


def test_frames_lie_in_natural_order_and_each_folder_is_a_film(folder: Callable[..., Path]) -> None:
    place = folder({f"{name}/{number}.png": number for name in "ab" for number in (1, 2, 9, 10, 11, 100)})
    shown = StimulusSet.from_video(place, length=3, frame_rate=12.5)
    assert shown.ids == ("a-000000", "a-000003", "b-000000", "b-000003")
    assert [_numbers(each) for each in shown.get([0, 1, 3], "clip")] == [[1, 2, 9], [10, 11, 100], [10, 11, 100]]
    assert shown.metadata["file"].tolist()[1] == "a/10.png" and shown.metadata["start_time"].tolist()[1] == 3 / 12.5
    assert sorted(["1", "2", "9", "10"]) != ["1", "2", "9", "10"]  # control: plain sorting would mix them
    assert "start_time" not in StimulusSet.from_video(place, length=3).metadata  # nobody said the rate
    whole = StimulusSet.from_video(place)
    assert whole.ids == ("a", "b") and whole.get([0], "clip").shape == (1, 6, 3, 48, 64)


def test_metadata_says_the_order_and_the_films(folder: Callable[..., Path]) -> None:
    place = folder({f"{number}.png": number for number in range(6)})
    (place / "metadata.csv").write_text("file\n5.png\n3.png\n4.png\n0.png\n")
    assert _numbers(StimulusSet.from_video(place).get([0], "clip")[0]) == [5, 3, 4, 0]
    (place / "metadata.csv").write_text("file,film\n5.png,x\n3.png,y\n4.png,x\n0.png,y\n")
    shown = StimulusSet.from_video(place)
    assert shown.ids == ("x", "y") and [_numbers(each) for each in shown.get([0, 1], "clip")] == [[5, 4], [3, 0]]
    (place / "metadata.csv").write_text("file\n5.png\n7.png\n")
    with pytest.raises(StimulusError, match=r"names 1 file\(s\) that are not there, first '7.png'"):
        read_video(place)
    (place / "metadata.csv").write_text("frame\n5.png\n")
    with pytest.raises(StimulusError, match="has no column 'file' that names the frames"):
        read_video(place)


def test_frames_in_an_archive_are_those_of_the_folder(folder: Callable[..., Path], tmp_path: Path) -> None:
    place = folder({f"{number}.png": number for number in range(12)}, "walk")
    with zipfile.ZipFile(tmp_path / "walk.zip", "w") as archive:
        for each in place.iterdir():
            archive.write(each, f"walk/{each.name}")
    packed = StimulusSet.from_video(tmp_path / "walk.zip", length=4)
    assert packed.digest == StimulusSet.from_video(place, length=4).digest


def test_a_folder_of_films_is_a_column_of_clips(film: Path, tmp_path: Path) -> None:
    shown = StimulusSet.from_folder(tmp_path)
    assert shown.fields == ("clip",) and shown.ids == ("film.mp4",)
    assert _numbers(shown.get([0], "clip")[0]) == list(range(N))
    with film.open("rb") as file:
        value, words = decode_clip(file, name="film.mp4")
    assert value.dtype == np.uint8 and value.shape == (N, 3, 48, 64) and words == ("yuv420p to RGB",)
    assert np.array_equal(value, StimulusSet.from_video(film).get([0], "clip")[0].numpy())


def test_what_is_left_out_at_the_end_is_logged(film: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        read_video(film, length=7)
    assert "4 stimuli of 1 film(s); 2 frames are in none" in caplog.text


def test_frames_that_overlapping_clips_leave_are_counted(film: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        read_video(film, length=7, every=4)  # 0-6, 4-10, ..., 20-26
    assert "6 stimuli of 1 film(s); 3 frames are in none" in caplog.text
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_films_too_short_for_a_clip_are_named(folder: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    counts = {"a": 6, "b": 2, "c": 4}
    place = folder({f"{name}/{number}.png": number for name, n in counts.items() for number in range(n)})
    shown = StimulusSet.from_video(place, length=4)
    assert shown.ids == ("a-000000", "c-000000")
    said = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert said == [f"{place}: 1 of 3 films left out, too short for a clip: b (2 frames)"]
    caplog.clear()
    StimulusSet.from_video(place, length=2)  # control: all are long enough
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]
    many = folder({f"{name}/{n}.png": n for name in range(12) for n in range(1 + (name == 5) * 3)}, "many")
    StimulusSet.from_video(many, length=2)
    assert caplog.text.count("(1 frames)") == 10 and caplog.text.rstrip().endswith("and 1 more")


def test_a_clip_that_does_not_fit_is_refused(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CLIP_BYTES", 10 * 3 * 48 * 64)
    with pytest.raises(StimulusError, match=r"a clip of 30 frames of .*film.mp4 \(64 x 48 pixels\) takes .* length="):
        read_video(film)
    assert len(read_video(film, length=10).table) == 3
    with pytest.raises(StimulusError, match="a clip of 30 frames of x"), film.open("rb") as file:
        decode_clip(file, name="x")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"length": 0}, "length=0: a number of frames is wanted, a whole one from 1 on"),
        ({"length": 2.5}, "length=2.5: a number of frames"),
        ({"step": 0, "length": 2}, "step=0"),
        ({"start": -1}, "start=-1"),
        ({"start": 5, "stop": 5}, "stop=5: the number of a frame after start=5"),
        ({"every": 2}, "every= is for clips of a length"),
        ({"frames": True, "length": 3}, "frames=True takes single frames"),
        ({"frame_rate": 25}, "says its frame rate itself"),
        ({"frame_rate": -1}, "frame_rate=-1: frames/s are wanted"),
    ],
)
def test_options_that_are_no_numbers_of_frames(film: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        read_video(film, **options)


def test_errors_say_what_would_be_right(film: Path, folder: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(StimulusError, match="has 30 frames, too few for a clip of 16 frames, 2 apart, from frame 0"):
        read_video(film, length=16, step=2)
    with pytest.raises(StimulusError, match="has 30 frames, too few for a frame from frame 30"):
        read_video(film, frames=True, start=30)
    with pytest.raises(StimulusError, match="no film .*absent.mp4; a film is a file"):
        read_video(tmp_path / "absent.mp4")
    with pytest.raises(StimulusError, match="holds no frames .*; name one of its 1 films, 'film.mp4'"):
        read_video(tmp_path)
    place = folder({"0.png": 0, "1.png": 1})
    Image.fromarray(_bars(2)[:40]).save(place / "2.png")
    with pytest.raises(StimulusError, match="frame 2 of frames has 64 x 40 pixels, the first has 64 x 48"):
        StimulusSet.from_video(place).get([0], "clip")
    (place / "1.png").write_bytes(b"no image")
    with pytest.raises(StimulusError, match="image 1.png is broken"):
        StimulusSet.from_video(place, length=2).get([0], "clip")


def test_memory_is_flat_over_a_long_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_RECENT_BYTES", 1 << 20)
    shots = [Image.fromarray(np.tile(_bars(number % 256), (4, 4, 1))) for number in range(64)]
    shots[0].save(tmp_path / "a.gif", save_all=True, append_images=shots[1:] * 3, duration=40)
    shown = StimulusSet.from_video(tmp_path / "a.gif", length=8)
    tracemalloc.start()
    for _, clips in shown.batches(1, field="clip"):
        assert clips.shape[1:] == (8, 3, 192, 256)
    peak = tracemalloc.get_traced_memory()[1]
    held = shown.get(range(len(shown)), "clip")
    everything = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15e6  # a few clips of 1.2 MB, read ahead
    assert everything > held.numel() > 25e6  # control: what all clips together take


def _mutations(data: bytes, n: int) -> list[bytes]:
    rng = np.random.default_rng(3)
    found = []
    for index in range(n):
        values = bytearray(data)
        if index % 3 == 0:
            values = values[: rng.integers(0, len(data))]
        else:
            for at in rng.integers(0, len(data), 3 * (index % 3)):
                values[at] = rng.integers(256)
        found.append(bytes(values))
    return found


def test_fuzz_only_errors_of_netphys_come_out(film: Path, folder: Callable[..., Path], tmp_path: Path) -> None:
    place = folder({f"{number}.png": number for number in range(4)})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for each in sorted(place.iterdir()):
            archive.write(each, each.name)
    seeds = {".mp4": film.read_bytes(), ".zip": packed.getvalue(), ".gif": b"GIF89a" + b"\xff" * 40}
    counted = {"read": 0, "refused": 0}
    for suffix, data in seeds.items():
        for damaged in [*_mutations(data, 25), b"", b"text", seeds[".mp4"], seeds[".zip"]]:
            path = tmp_path / f"x{suffix}"
            path.write_bytes(damaged)
            try:
                StimulusSet.from_video(path, length=2).get([0], "clip")
            except NetphysError as error:
                assert "\n" not in str(error)
                counted["refused"] += 1
            else:
                counted["read"] += 1
    assert counted["read"] > 5 and counted["refused"] > 30
