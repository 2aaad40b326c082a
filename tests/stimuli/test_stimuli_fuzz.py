"""Damaged files of every kind: named in one clear line, or left out on request; never a crash, a hang, much memory or
a file written.

Each file is read in a child process under an alarm and a limit of memory. Toy readers that hang, take memory, crash,
raise, write or say nothing are seen by the same harness.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import wave
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from netphys.stimuli import StimulusSet

CHILD = Path(__file__).with_name("fuzz_child.py")
RGB = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
MOST_GROWN = 700 << 20  # bytes; MAX_PIXELS allows larger images, but none is in a file of some kilobytes


# Seeds


def _image(suffix: str, image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()), **options)
    return buffer.getvalue()


def _interlaced() -> bytes:
    """Write a PNG of Adam7's seven passes; PIL writes none."""
    height, width = RGB.shape[:2]
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = [b"\0" + row.tobytes() for y, x, dy, dx in passes for row in RGB[y::dy, x::dx] if row.size]
    parts = [
        (b"IHDR", struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 1)),
        (b"IDAT", zlib.compress(b"".join(rows))),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data)) for kind, data in parts
    )


def _sound() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.random.default_rng(0).integers(-9000, 9000, 800).astype("<i2").tobytes())
    return buffer.getvalue()


def _archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for index in range(3):
            file.writestr(f"set/{index}.png", _image("png", Image.fromarray(np.roll(RGB, index, axis=1))))
        file.writestr("set/metadata.csv", "file,category\n0.png,face\n1.png,face\n2.png,house\n")
    return buffer.getvalue()


def _kept(folder: Path, *, mixed: bool) -> bytes:
    images: Any = [np.roll(RGB, k, axis=1).transpose(2, 0, 1)[:, : 20 - k * mixed] for k in range(6)]
    table = pd.DataFrame({"stimulus_id": list("abcdef"), "category": ["face", "house"] * 3, "n": range(6)})
    texts = {"text": [f"word {k}" for k in range(6)]} if mixed else None
    path = StimulusSet.from_arrays(images, metadata=table, fields=texts, name="six").to_hdf5(folder / f"{mixed}.h5")
    return path.read_bytes()


def _foreign(folder: Path, *, texts: bool) -> bytes:
    path = folder / f"foreign{texts}.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=np.stack([RGB] * 5), compression="gzip", chunks=(1, 20, 24, 3))
        file["contrast"] = np.linspace(0, 1, 5)
        if texts:
            file["stimulus_id"] = [f"s{k}" for k in range(5)]  # strings of any length, as h5py writes them
    return path.read_bytes()


def seeds(folder: Path) -> list[tuple[str, str, bytes]]:
    """Make whole files: (kind, suffix, bytes)."""
    image, grey = Image.fromarray(RGB), Image.fromarray(RGB[..., 0])
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    rgba = Image.fromarray(np.dstack([RGB, RGB[..., :1]]))
    film = [Image.fromarray(np.roll(RGB, k, axis=0)) for k in range(3)]
    large = Image.fromarray(np.tile(RGB, (6, 6, 1)))
    images = [
        ("png", _image("png", image)),
        ("png", _image("png", Image.fromarray(RGB[..., 0].astype(np.uint16) * 257))),
        ("png", _image("png", image.quantize(16), transparency=3)),
        ("png", _image("png", rgba)),
        ("png", _interlaced()),
        ("jpg", _image("jpg", large)),
        ("jpg", _image("jpg", large, progressive=True)),
        ("jpg", _image("jpg", grey)),
        ("jpg", _image("jpg", image.convert("CMYK"))),
        ("jpg", _image("jpg", image, exif=exif)),
        *(
            ("tif", _image("tif", image, compression=each))
            for each in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
        ),
        ("tif", _image("tif", image.convert("1"), compression="group4")),
        ("webp", _image("webp", image)),
        ("webp", _image("webp", rgba, lossless=True)),
        ("bmp", _image("bmp", image)),
        ("bmp", _image("bmp", image.quantize(16))),
    ]
    return [
        *(("image", suffix, data) for suffix, data in images),
        ("clip", "gif", _image("gif", film[0], save_all=True, append_images=film[1:])),
        ("sound", "wav", _sound()),
        ("zip", "zip", _archive()),
        ("kept", "h5", _kept(folder, mixed=False)),
        ("kept", "h5", _kept(folder, mixed=True)),
        ("foreign", "h5", _foreign(folder, texts=False)),
        ("foreign", "h5", _foreign(folder, texts=True)),
        ("csv", "csv", b"file,stimulus_id,category,size\ngood.png,one,face,1.5\ngood.png,two,house,\n"),
    ]


# Mutations


def truncated(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(1, len(data))]


def bits_flipped(data: bytes, rng: np.random.Generator) -> bytes:
    values = bytearray(data)
    for at in rng.integers(0, len(data), rng.integers(1, 9)):
        values[at] ^= 1 << rng.integers(8)
    return bytes(values)


def beginning_changed(data: bytes, rng: np.random.Generator) -> bytes:
    """Change bytes of the header, where the claims are."""
    values = bytearray(data)
    for at in rng.integers(0, min(len(data), 200), 3):
        values[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
    return bytes(values)


def block_copied(data: bytes, rng: np.random.Generator) -> bytes:
    n = int(rng.integers(4, 64))
    source, target = rng.integers(0, max(1, len(data) - n), 2)
    return data[:target] + data[source : source + n] + data[target + n :]


def halves_swapped(data: bytes, rng: np.random.Generator) -> bytes:
    return data[len(data) // 2 :] + data[: len(data) // 2]


def garbage_appended(data: bytes, rng: np.random.Generator) -> bytes:
    return data + rng.bytes(int(rng.integers(1, 5000)))


def garbage_inserted(data: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(data)))
    return data[:at] + rng.bytes(16) + data[at:]


def emptied(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(0, 3))]


def made_huge(data: bytes, rng: np.random.Generator) -> bytes:
    """Claim a size that is not there: in the header's place for it, or wherever the true size stands."""
    values, side = bytearray(data), int(rng.choice([4000, 7999, 16_000, 65_535]))
    if data.startswith(b"\x89PNG"):
        values[16:24] = struct.pack(">LL", side, side)
        values[29:33] = struct.pack(">L", zlib.crc32(bytes(values[12:29])))
    elif data.startswith(b"\xff\xd8"):
        at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        values[at + 5 : at + 9] = struct.pack(">HH", side, side)
    elif data.startswith(b"BM"):
        values[18:26] = struct.pack("<ll", side, side)
    elif data.startswith(b"GIF"):
        values[6:10] = struct.pack("<HH", side, side)
    elif data.startswith(b"RIFF"):
        values[4:8] = values[40:44] = struct.pack("<L", 0xFFFFFFF0)
    else:
        for size in (20, 24, 5, 6, len(data)):
            for kind, huge in (("<H", 0xFFFF), ("<L", 0x7FFFFFFF), ("<Q", 1 << 40)):
                at = bytes(values).find(struct.pack(kind, size))
                if at >= 0 and rng.integers(2):
                    values[at : at + struct.calcsize(kind)] = struct.pack(kind, huge)
    return bytes(values)


MUTATIONS: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    truncated, bits_flipped, bits_flipped, beginning_changed, block_copied, halves_swapped, garbage_appended,
    garbage_inserted, emptied, made_huge,
)  # fmt: skip


# The harness


@dataclass
class Fuzzed:
    """What came of all cases."""

    cases: list[dict[str, Any]]
    outcomes: list[dict[str, Any]]
    written: set[str]

    def faults(self) -> list[str]:
        """Say what no reader may do."""
        found = [f"written: {each}" for each in sorted(self.written)]
        for case, outcome in zip(self.cases, self.outcomes, strict=True):
            found += [f"{case['file']} ({case['mutation']}): {each}" for each in _faults(case, outcome)]
        return found


def _faults(case: dict[str, Any], outcome: dict[str, Any]) -> list[str]:
    name = Path(case["file"]).name
    if "ended" in outcome:
        return [f"the process ended ({outcome['ended']})"]
    faults = []
    if "foreign" in outcome:
        faults.append(f"raised {outcome['foreign']}")
    if outcome["grown"] > MOST_GROWN:
        faults.append(f"memory grew by {outcome['grown'] >> 20} MiB")
    said = outcome.get("error")
    if said is not None:
        folder = Path(case["file"]).parent.name
        if "\n" in said or not (name in said or (case["kind"] == "csv" and folder in said)):
            faults.append(f"does not name the file in one line: {said!r}")
        if re.search(r"MemoryError|(an't|annot|nable to) allocate", said):
            faults.append(f"took all memory: {said!r}")
    if said is not None and "left_out" in outcome and outcome["left_out"] != [name]:
        faults.append(f"left out {outcome['left_out']} on request")
    if "left_out" in outcome and said is None and outcome["left_out"]:
        faults.append(f"left out {outcome['left_out']} though it can be read")
    if "n_kept" in outcome and outcome["n_kept"] != 2 - len(outcome["left_out"]):
        faults.append(f"{outcome['n_kept']} of 2 were kept")
    if case["kind"] == "kept" and "shown" in outcome and outcome["shown"] != case["whole"]:
        faults.append("showed other values than were written")
    return faults


def run_harness(folder: Path, cases: list[dict[str, Any]]) -> Fuzzed:
    """Read all cases in child processes; one that ends is followed by the next."""
    listed = folder / "cases.json"
    listed.write_text(json.dumps(cases))
    before = _tree(folder)
    outcomes: list[dict[str, Any]] = []
    environment = os.environ | {"TMPDIR": str(folder), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["MALLOC_ARENA_MAX"] = "2"  # each thread would reserve 64 MB of addresses, which are what is limited
    while len(outcomes) < len(cases):
        command = [sys.executable, "-W", "ignore", str(CHILD), str(listed), str(len(outcomes))]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
        lines = done.stdout.splitlines()
        outcomes += [json.loads(line) for line in lines if line.startswith("{")]
        if len(outcomes) < len(cases):
            assert lines and lines[-1].startswith("begin"), done.stderr[-2000:]
            outcomes.append({"ended": signal.Signals(-done.returncode).name if done.returncode < 0 else "exit"})
    return Fuzzed(cases, outcomes, _tree(folder) ^ before)


def _tree(folder: Path) -> set[str]:
    """List the files below a folder, with sizes and times."""
    found = set()
    for each in folder.rglob("*"):
        known = each.lstat()
        found.add(f"{each.relative_to(folder)} {known.st_size} {0 if each.is_dir() else known.st_mtime_ns}")
    return found


def write_cases(folder: Path, n_each: int, seed: int) -> list[dict[str, Any]]:
    """Write `n_each` damaged files of each seed, each in a folder of its own beside a whole one."""
    rng = np.random.default_rng(seed)
    made = folder / "seeds"
    made.mkdir()
    whole = {suffix: data for _, suffix, data in reversed(seeds(made))}
    cases: list[dict[str, Any]] = []
    for kind, suffix, data in seeds(made):
        truth = _truth(made, data) if kind == "kept" else ""
        slow = suffix == "h5" and b"GCOL" in data  # strings of any length are read in a process of its own each time
        for index in range(n_each // 4 if slow else n_each):
            mutation = MUTATIONS[(index + len(cases)) % len(MUTATIONS)]
            name = "metadata" if kind == "csv" else f"damaged{len(cases)}"
            place = folder / f"case{len(cases)}"
            place.mkdir()
            if kind == "csv":
                (place / "good.png").write_bytes(whole["png"])
            elif kind in ("image", "clip", "sound"):
                (place / f"good.{suffix}").write_bytes(whole[suffix])
            other = {"image": ("png", "jpg", "tif", "webp", "bmp")}.get(kind, (suffix,))
            wrong = index % 7 == 6 and len(other) > 1
            file = place / f"{name}.{rng.choice(other) if wrong else suffix}"
            file.write_bytes(mutation(data, rng))
            said = mutation.__name__ + " and renamed" * wrong
            case = {"file": str(file.relative_to(folder)), "kind": kind, "suffix": suffix, "reader": "read"}
            cases.append(case | {"mutation": said, "whole": truth})
    return cases


def _truth(folder: Path, data: bytes) -> str:
    """Say what a whole file shows, as the child does."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("fuzz_child", CHILD)
    assert spec is not None and spec.loader is not None
    child = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(child)
    path = folder / "whole.h5"
    path.write_bytes(data)
    return child.shown(StimulusSet.from_hdf5(path))


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Fuzzed:
    folder = tmp_path_factory.mktemp("fuzz")
    return run_harness(folder, write_cases(folder, 25, seed=0))


def test_at_least_500_files_never_do_what_no_file_may(fuzzed: Fuzzed) -> None:
    assert len(fuzzed.cases) >= 500
    assert not fuzzed.faults()


def test_the_fuzz_reaches_the_readers(fuzzed: Fuzzed) -> None:
    reached: dict[str, Counter[str]] = {}
    for case, outcome in zip(fuzzed.cases, fuzzed.outcomes, strict=True):
        known = reached.setdefault(case["kind"], Counter())
        known["refused" if "error" in outcome else "read"] += 1
    assert all(each["refused"] >= 3 for each in reached.values()), reached
    assert all(each["read"] >= 3 for each in reached.values()), reached


def _case(folder: Path, reader: str) -> dict[str, Any]:
    """Lay two whole files into a folder, one of them called damaged."""
    place = folder / reader
    place.mkdir()
    for name in ("good.png", "damaged.png"):
        (place / name).write_bytes(_image("png", Image.fromarray(RGB)))
    file = f"{reader}/damaged.png"
    return {"file": file, "kind": "image", "suffix": "png", "mutation": "none", "whole": "", "reader": reader}


def test_control_the_harness_sees_readers_without_guards(tmp_path: Path) -> None:
    known = {
        "hangs": "the process ended (SIGALRM)",
        "crashes": "the process ended (SIGSEGV)",
        "allocates": "took all memory",
        "raises": "raised ValueError: what a library says",
        "speaks_of_nothing": "does not name the file in one line",
        "forgets": "left out [] on request",
    }
    faults = run_harness(tmp_path, [_case(tmp_path, reader) for reader in [*known, "writes"]]).faults()
    assert any(each.startswith("written: escaped.txt") for each in faults), faults
    for reader, said in known.items():
        assert any(each.startswith(f"{reader}/") and said in each for each in faults), (reader, faults)


def test_control_other_values_than_were_written_are_seen() -> None:
    case = {"file": "case0/damaged0.h5", "kind": "kept", "mutation": "none", "whole": "the truth"}
    assert _faults(case, {"shown": "other", "grown": 0}) == ["showed other values than were written"]
    assert not _faults(case, {"shown": "the truth", "grown": 0})


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_thousands_of_files(tmp_path: Path, seed: int) -> None:
    fuzzed = run_harness(tmp_path, write_cases(tmp_path, 150, seed=seed))
    assert len(fuzzed.cases) > 3000 and not fuzzed.faults()
