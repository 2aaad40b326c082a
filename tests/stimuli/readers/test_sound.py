"""read_sounds: samples of every width against scipy and the sine that was written; what headers claim is checked."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import wavfile
from scipy.signal import resample_poly

from netphys.errors import NetphysError, OptionError, StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.readers.sound import decode_sound, read_sounds, wav_header

RATE = 8000
TIME = np.arange(800) / RATE
SINE = 0.8 * np.sin(2 * np.pi * 440 * TIME)  # 0.1 s
STEP = {8: 2**-7, 16: 2**-15, 24: 2**-23, 32: 2**-31}  # of a sample, of the full scale of 1


def wav(data: bytes, *, bits: int, channels: int = 1, rate: int = RATE, coding: int = 1, extra: bytes = b"") -> bytes:
    """Write a WAV file by hand; `extra` are parts before the samples."""
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", coding, channels, rate, rate * block, block, bits)
    parts = b"fmt " + struct.pack("<I", len(form)) + form + extra + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WAVE" + parts + b"\0" * (len(data) % 2)


def pcm(values: np.ndarray, bits: int) -> bytes:
    """Round to integers of a width: unsigned at 8 bit, three bytes at 24."""
    whole = np.rint(values * 2 ** (bits - 1)).astype(np.int64)
    if bits == 8:
        return (whole + 128).astype(np.uint8).tobytes()
    return whole.astype("<i4").view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()


def decoded(data: bytes) -> tuple[np.ndarray, tuple[str, ...]]:
    return decode_sound(io.BytesIO(data), name="a.wav")


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Write WAV files of tones: name → (frequency, seconds)."""

    def write(files: dict[str, tuple[float, float]], rate: int = RATE) -> Path:
        for file, (frequency, seconds) in files.items():
            path = tmp_path / "sounds" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            tone = 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)
            path.write_bytes(wav(pcm(tone, 16), bits=16, rate=rate))
        return tmp_path / "sounds"

    return write


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_integers_give_the_sine_back_and_agree_with_scipy(bits: int) -> None:
    data = wav(pcm(SINE, bits), bits=bits)
    found, words = decoded(data)
    assert found.dtype == np.float32 and found.shape == (800,) and words == ()
    # half a step of rounding, and a float32's own
    assert np.abs(found - SINE).max() <= STEP[bits] / 2 + 2**-24
    rate, theirs = wavfile.read(io.BytesIO(data))
    scaled = (
        (theirs - 128.0) / 128 if bits == 8 else theirs / 2.0 ** (15 if bits == 16 else 31)
    )  # scipy widens 24 to 32
    assert rate == RATE and np.array_equal(found, scaled.astype(np.float32))
    assert np.abs(found - np.roll(SINE, 1)).max() > 0.1  # control: one sample later


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_floats_are_taken_as_they_are(dtype: str) -> None:
    data = wav(SINE.astype(dtype).tobytes(), bits=8 * np.dtype(dtype).itemsize, coding=3)
    found = decoded(data)[0]
    assert np.array_equal(found, SINE.astype(np.float32)) and found.flags.writeable
    for bad, said in (
        (2.5 * SINE, "floats up to 2; they are in"),
        (np.where(SINE > 0.7, np.nan, 0), "floats up to nan"),
    ):
        with pytest.raises(StimulusError, match=said):
            decoded(wav(bad.astype(dtype).tobytes(), bits=8 * np.dtype(dtype).itemsize, coding=3))


def test_channels_become_their_mean_and_it_is_said() -> None:
    both = np.stack([SINE, -0.5 * SINE], axis=1)
    found, words = decoded(wav(pcm(both.reshape(-1), 16), bits=16, channels=2))
    assert words == ("mean of 2 channels",)
    assert np.abs(found - 0.25 * SINE).max() <= STEP[16] / 2 + 2**-24
    assert np.abs(found - SINE).max() > 0.3  # control: not the first channel
    ends = np.array([-1.0, -1.0])  # full scale: two lowest numbers do not run over
    assert decoded(wav(pcm(ends, 32), bits=32, channels=2))[0].tolist() == [-1.0]


def test_other_parts_and_the_extensible_format_are_understood() -> None:
    listed = b"LIST" + struct.pack("<I", 5) + b"INFO\x01" + b"\0"  # an odd length, padded
    data = pcm(SINE, 24)
    assert np.abs(decoded(wav(data, bits=24, extra=listed))[0] - SINE).max() < 1e-6
    guid = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE, 3 * RATE, 3, 24, 22, 24, 0) + guid
    parts = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    whole = b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WAVE" + parts
    assert np.abs(decoded(whole)[0] - SINE).max() < 1e-6


def test_columns_come_from_headers_and_lengths_differ(folder: Callable[..., Path]) -> None:
    shown = StimulusSet.from_sounds(folder({"b/1.wav": (440, 0.1), "a/2.wav": (500, 0.2), "a/10.wav": (600, 0.05)}))
    assert shown.fields == ("sound",) and shown.ids == ("a/10.wav", "a/2.wav", "b/1.wav")
    table = shown.metadata
    assert table["n_samples"].tolist() == [400, 1600, 800] and set(table["sample_rate"]) == {RATE}
    assert table["duration"].tolist() == [0.05, 0.2, 0.1] and table["category"].tolist() == ["a", "a", "b"]
    sounds = shown.get([1, 0], "sound")
    assert isinstance(sounds, list) and [len(each) for each in sounds] == [1600, 400]
    same = shown.get([2, 2], "sound")
    assert isinstance(same, torch.Tensor) and same.dtype == torch.float32 and same.shape == (2, 800)
    assert shown.conversions == {}


def test_the_digest_is_that_of_the_folder_and_of_an_archive(folder: Callable[..., Path], tmp_path: Path) -> None:
    place = folder({"a.wav": (440, 0.1), "b.wav": (500, 0.1)})
    with zipfile.ZipFile(tmp_path / "sounds.zip", "w") as archive:
        for each in place.iterdir():
            archive.write(each, each.name)
    digest = StimulusSet.from_sounds(place).digest
    assert digest == StimulusSet.from_folder(place).digest == StimulusSet.from_sounds(tmp_path / "sounds.zip").digest
    assert digest != StimulusSet.from_sounds(place, rate=4000).digest
    assert digest == StimulusSet.from_sounds(place, rate=RATE).digest  # nothing to do


@pytest.mark.parametrize("rate", [16000, 4000, 11025])
def test_resampling_keeps_the_tone_and_is_said(folder: Callable[..., Path], rate: int) -> None:
    place = folder({"a.wav": (440, 0.25), "b.wav": (440, 0.1)})
    shown = StimulusSet.from_sounds(place, rate=rate)
    sound = shown.get([0], "sound")[0].numpy()
    assert len(sound) == -(-2000 * rate // RATE) == shown.metadata["n_samples"][0] and sound.dtype == np.float32
    frequency = np.fft.rfftfreq(len(sound), 1 / rate)[np.abs(np.fft.rfft(sound)).argmax()]
    assert abs(frequency - 440) < 2 * rate / len(sound)  # two bins
    inside = slice(len(sound) // 4, -len(sound) // 4)  # away from the filter's edges
    true = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(sound)) / rate)
    assert np.abs(sound - true)[inside].max() < 0.01  # the filter's ripple
    plain = StimulusSet.from_sounds(place).get([0], "sound")[0].numpy().astype(np.float64)
    gcd = np.gcd(rate, RATE)
    assert np.allclose(sound, resample_poly(plain, rate // gcd, RATE // gcd), atol=1e-7)
    assert shown.conversions == {f"resampled from {RATE} to {rate} Hz": 2}
    assert set(shown.metadata["sample_rate"]) == {rate} and set(shown.metadata["recorded_rate"]) == {RATE}
    assert np.abs(plain[: len(sound)][:500] - true[:500]).max() > 0.1  # control: not resampled


def test_a_ringing_filter_stays_within_one(tmp_path: Path) -> None:
    square = np.where(np.arange(400) // 20 % 2, 32767, -32768) / 2**15
    (tmp_path / "a.wav").write_bytes(wav(pcm(square, 16), bits=16))
    shown = StimulusSet.from_sounds(tmp_path, rate=16000)
    assert float(shown.get([0], "sound").abs().max()) == 1 and "cut at 1 after resampling" in shown.conversions
    assert np.abs(resample_poly(square, 2, 1)).max() > 1.05  # control


def test_metadata_that_disagrees_with_a_header_is_an_error(folder: Callable[..., Path]) -> None:
    place = folder({"a.wav": (440, 0.1), "b.wav": (500, 0.1)})
    (place / "metadata.csv").write_text("file,word,sample_rate,samples\nb.wav,beh,8000,800\na.wav,ah,8000,800\n")
    shown = StimulusSet.from_sounds(place, rate=16000)
    assert shown.ids == ("b.wav", "a.wav") and shown.metadata["samples"].tolist() == [800, 800]  # the user's own
    assert shown.metadata["recorded_rate"].tolist() == [8000, 8000]
    (place / "metadata.csv").write_text("file,sample_rate\nb.wav,8000\na.wav,44100\n")
    with pytest.raises(StimulusError, match="sample_rate of 'a.wav' is 44100 in the table, 8000 in the file"):
        read_sounds(place)
    (place / "metadata.csv").write_text("file,n_samples\nb.wav,800\na.wav,many\n")
    with pytest.raises(StimulusError, match="n_samples of 'b.wav' is 800|n_samples of 'a.wav' is many"):
        read_sounds(place)


def test_a_sound_beside_an_image_of_the_same_name(folder: Callable[..., Path]) -> None:
    place = folder({"dog/1.wav": (440, 0.1), "cat/1.wav": (500, 0.1)})
    for name, value in (("dog", 10), ("cat", 20)):
        Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(place / name / "1.png")
    shown = StimulusSet.from_sounds(place)
    assert shown.fields == ("image", "sound") and shown.ids == ("cat/1", "dog/1")
    assert [int(each[0, 0, 0]) for each in shown.images([0, 1])] == [20, 10]
    peaks = [np.abs(np.fft.rfft(each.numpy())).argmax() * 10 for each in shown.get([0, 1], "sound")]
    assert peaks == [500, 440]  # Hz: the sound of its own image
    (place / "metadata.csv").write_text("stimulus_id,image,sound\nmixed,dog/1.png,cat/1.wav\n")
    mixed = StimulusSet.from_sounds(place, fields={"image": "image", "sound": "sound"})
    assert int(mixed.images([0])[0, 0, 0, 0]) == 10
    (place / "metadata.csv").unlink()
    (place / "cat/1.png").unlink()
    with pytest.raises(StimulusError, match=r"1 file\(s\) have no partner of the same name, first 'cat/1.wav'"):
        StimulusSet.from_sounds(place)
    assert StimulusSet.from_sounds(place, fields={"sound": "sound"}).fields == ("sound",)


def test_broken_sounds_are_named_or_left_out(folder: Callable[..., Path]) -> None:
    place = folder({"a.wav": (440, 0.1), "b.wav": (500, 0.1), "c.wav": (500, 0.1)})
    whole = (place / "b.wav").read_bytes()
    (place / "b.wav").write_bytes(whole[:-100])
    with pytest.raises(
        StimulusError, match="sound b.wav is truncated: 1600 bytes of samples are claimed, 1500 are there"
    ):
        read_sounds(place)
    kept = StimulusSet.from_sounds(place, skip_broken=True, rate=16000)
    assert kept.ids == ("a.wav", "c.wav") and kept.left_out == ("b.wav",)
    assert kept.get([1], "sound").shape == (1, 1600) and kept.metadata["n_samples"].tolist() == [1600, 1600]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is no WAV file"),
        (b"ID3\x03 an mp3 file", "is no WAV file .*ID3"),
        (b"RF64" + bytes(40), "is RF64, which is not read"),
        (wav(pcm(SINE, 16), bits=16, coding=0x55), "is coded as MP3; integers"),
        (wav(pcm(SINE, 8), bits=8, coding=7), "is coded as mu-law"),
        (wav(pcm(SINE, 16), bits=16, rate=0), "claims 1 channels of 16 bit at 0 Hz"),
        (wav(pcm(SINE, 16), bits=12), "claims 1 channels of 12 bit"),
        (wav(b"", bits=16), "has 0 bytes of samples"),
        (wav(b"123", bits=16), "has 3 bytes of samples, 2 bytes each"),
        (wav(pcm(SINE, 16), bits=16)[:30], "is truncated"),
        (wav(pcm(SINE, 16), bits=16)[:36], "holds no samples"),
    ],
)
def test_what_is_no_sound_says_why(data: bytes, said: str) -> None:
    with pytest.raises(StimulusError, match=f"sound a.wav {said}") as caught:
        decoded(data)
    assert "\n" not in str(caught.value)


def test_a_huge_claim_takes_no_memory() -> None:
    data = bytearray(wav(pcm(SINE, 16), bits=16))
    place = data.find(b"data") + 4
    data[place : place + 4] = struct.pack("<I", 0xFFFFFFF0)
    tracemalloc.start()
    with pytest.raises(StimulusError, match="4294967280 bytes of samples are claimed, 1600 are there"):
        decoded(bytes(data))
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_options_are_checked(folder: Callable[..., Path], tmp_path: Path) -> None:
    place = folder({"a.wav": (440, 0.1)})
    for rate in (0, -8000, 1.5, 10**9, "16k"):
        with pytest.raises(OptionError, match="a sample rate is wanted"):
            read_sounds(place, rate=rate)  # type: ignore[arg-type]
    (tmp_path / "empty").mkdir()
    with pytest.raises(StimulusError, match=r"holds no sound \(.wav\)"):
        read_sounds(tmp_path / "empty")
    with pytest.raises(StimulusError, match="has no column 'sonud' of files; near: 'sound'"):
        read_sounds(place, fields={"sound": "sonud"})


def test_fuzz_only_stimulus_errors_come_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seeds: list[Any] = [wav(pcm(SINE[:100], bits), bits=bits, channels=2) for bits in (8, 16, 24, 32)]
    seeds += [wav(SINE[:100].astype("<f8").tobytes(), bits=64, coding=3, extra=b"LIST\x04\0\0\0abcd")]
    counted = {"read": 0, "refused": 0}
    for index in range(200):
        data = bytearray(seeds[index % 5])
        kind = index // 5 % 4
        if kind == 0:
            data = data[: rng.integers(0, len(data))]
        elif kind == 1:
            for at in rng.integers(0, 60, 2):  # the header
                data[at] = rng.integers(256)
        elif kind == 2:
            data[rng.integers(44) :] = rng.bytes(64)
        else:
            at = int(rng.integers(12, 60))
            data[at:at] = rng.bytes(int(rng.integers(1, 9)))
        try:
            sound, _ = decode_sound(io.BytesIO(bytes(data)), name="x.wav")
            header = wav_header(io.BytesIO(bytes(data)), name="x.wav")
        except NetphysError as error:
            assert "\n" not in str(error)
            counted["refused"] += 1
        else:
            assert sound.dtype == np.float32 and np.abs(sound).max() <= 1 and len(sound) == header.n_samples
            counted["read"] += 1
    assert counted["read"] > 20 and counted["refused"] > 60
