"""read_text: units, their places and ids; numbers as text and as numpy's files."""

from __future__ import annotations

import io
import logging
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from netphys.errors import NetphysError, OptionError, StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.readers import text as module
from netphys.stimuli.readers.text import decode_numbers, decode_text, read_text

TEXT = 'First Citizen:\nSpeak, speak.\n\n  \nMr. Ä said "No!" Then\nhe left. Did he? 3.5 km on\n\nÉnd'


def numbers(data: bytes) -> np.ndarray:
    return decode_numbers(io.BytesIO(data), name="a")[0]


def npy(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "play.txt"
    file.write_text(TEXT, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("unit", "texts", "lines"),
    [
        ("line", ["First Citizen:", "Speak, speak.", 'Mr. Ä said "No!" Then', "he left. Did he? 3.5 km on", "Énd"],
         [1, 2, 5, 6, 8]),
        ("paragraph", ["First Citizen:\nSpeak, speak.", 'Mr. Ä said "No!" Then\nhe left. Did he? 3.5 km on', "Énd"],
         [1, 5, 8]),
        ("sentence", ["First Citizen: Speak, speak.", "Mr.", 'Ä said "No!"', "Then he left.", "Did he?",
                      "3.5 km on", "Énd"],
         [1, 5, 5, 5, 6, 6, 8]),
        ("word", TEXT.split(), [1, 1, 2, 2, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 8]),
        ("document", [TEXT], [1]),
    ],
)  # fmt: skip
def test_units_and_where_they_begin(path: Path, unit: str, texts: list[str], lines: list[int]) -> None:
    shown = StimulusSet.from_text(path, unit=unit)
    assert shown.fields == ("text",) and shown.get(range(len(shown)), "text") == texts
    table = shown.metadata
    assert table["line"].tolist() == lines
    assert table["n_words"].tolist() == [len(each.split()) for each in texts]
    assert table["n_characters"].tolist() == [len(each) for each in texts]
    numbers = lines if unit == "line" else range(1, len(texts) + 1)
    assert shown.ids == tuple(f"{unit}-{number:06d}" for number in numbers)
    order = np.random.default_rng(0).permutation(len(texts))
    assert shown.get(order, "text") == [texts[index] for index in order]


def test_a_stop_before_a_small_letter_ends_no_sentence(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(
        "He saw e.g. this one. (Then he left.) \u201cWhy?\u201d asked Ann... Nobody knew!", encoding="utf-8"
    )
    shown = StimulusSet.from_text(file, unit="sentence")
    assert shown.get(range(len(shown)), "text") == [
        "He saw e.g. this one.", "(Then he left.)", "\u201cWhy?\u201d asked Ann...", "Nobody knew!",
    ]  # fmt: skip


def test_all_words_are_in_every_unit(path: Path) -> None:
    for unit in ("line", "sentence", "paragraph", "word", "document"):
        shown = StimulusSet.from_text(path, unit=unit)
        assert " ".join(shown.get(range(len(shown)), "text")).split() == TEXT.split()


@pytest.mark.parametrize("unit", ["line", "sentence", "paragraph", "word", "document"])
def test_windows_line_ends_and_a_byte_order_mark_change_nothing(path: Path, unit: str) -> None:
    plain = StimulusSet.from_text(path, unit=unit)
    path.with_name("dos.txt").write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    dos = StimulusSet.from_text(path.with_name("dos.txt"), unit=unit)
    assert dos.digest == plain.digest and dos.metadata.equals(plain.metadata)
    path.with_name("latin.txt").write_bytes(TEXT.encode("latin-1"))
    latin = StimulusSet.from_text(path.with_name("latin.txt"), unit=unit, encoding="latin-1")
    assert latin.digest == plain.digest
    path.with_name("other.txt").write_text(TEXT.replace("left", "lept"), encoding="utf-8")
    assert StimulusSet.from_text(path.with_name("other.txt"), unit=unit).digest != plain.digest  # control


def test_empty_lines_are_left_out_and_counted(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        read_text(path)
    assert "3 empty lines are left out" in caplog.text


def test_a_folder_of_texts_is_one_stimulus_a_file(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes("\ufeffzwei\r\nZeilen".encode())
    (tmp_path / "a.txt").write_text("eins")
    shown = StimulusSet.from_folder(tmp_path)
    assert shown.fields == ("text",) and shown.get([1, 0], "text") == ["zwei\nZeilen", "eins"]
    assert set(shown.conversions) == {"byte order mark left out", "line breaks made line feeds"}
    with pytest.raises(StimulusError, match="is a folder; StimulusSet.from_folder reads its .txt files"):
        read_text(tmp_path)


def test_a_long_text_is_not_held(tmp_path: Path) -> None:
    line = "x" * 1600 + " end\n"
    (tmp_path / "long.txt").write_text(line * 5_000)  # 8 MB
    tracemalloc.start()
    shown = StimulusSet.from_text(tmp_path / "long.txt", unit="paragraph")
    assert len(shown) == 1
    whole = tracemalloc.get_traced_memory()[1]  # control: one unit of 8 MB is held
    tracemalloc.reset_peak()
    lines = StimulusSet.from_text(tmp_path / "long.txt")
    peak = tracemalloc.get_traced_memory()[1] - tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(lines) == 5_000 and lines.get([4_999], "text") == [line.rstrip("\n")]
    assert peak < 6e6 < 8e6 < whole  # the table and its ids


def test_errors_say_where(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="unit='lines': a text is cut into line, .*; near: 'line'"):
        read_text(path, unit="lines")  # type: ignore[arg-type]
    for encoding, said in (("utf-16", "no single bytes"), ("utf8000", "no such encoding"), ("utf-7", "no single bytes"),
                           ("shift_jis_nope", "no such encoding"), ("hex", "no such encoding")):  # fmt: skip
        with pytest.raises(OptionError, match=said):
            read_text(path, encoding=encoding)
    with pytest.raises(StimulusError, match="no text .*absent.txt"):
        read_text(tmp_path / "absent.txt")
    other = tmp_path / "other.txt"
    other.write_bytes(b"good\nb\xe4d\n")
    for unit in ("line", "word", "document"):
        with pytest.raises(StimulusError, match="is not utf-8: byte 0xe4 at 6; encoding= names another"):
            read_text(other, unit=unit)  # type: ignore[arg-type]
    other.write_bytes(b"good\n\0\n")
    with pytest.raises(StimulusError, match="line 2, holds a NUL at byte 5; it is no text"):
        read_text(other)
    other.write_bytes(b" \n\n")
    with pytest.raises(StimulusError, match="holds no sentence; it is empty"):
        read_text(other, unit="sentence")
    monkeypatch.setattr(module, "_MOST_UNITS", 3)
    with pytest.raises(StimulusError, match="holds more than 3 words"):
        read_text(path, unit="word")
    monkeypatch.setattr(module, "MAX_TEXT_BYTES", 10)
    for unit, said in (("line", "line 1 has more than 10 bytes"), ("document", "more than 10 bytes, too many for one")):
        with pytest.raises(StimulusError, match=said):
            read_text(path, unit=unit)  # type: ignore[arg-type]
    with pytest.raises(StimulusError, match="text a has more than 10 bytes; StimulusSet.from_text cuts it"):
        decode_text(io.BytesIO(b"x" * 11), name="a")


def test_a_text_that_changes_meanwhile_is_noticed(path: Path) -> None:
    shown = StimulusSet.from_text(path)
    path.write_text(TEXT + "more", encoding="utf-8")
    with pytest.raises(StimulusError, match="has changed since it was read first"):
        shown.get([0], "text")


def test_numbers_of_every_spelling() -> None:
    pose = np.array([[0.7, -0.3, 1e-3, 2], [0, 1, 0, -5], [0, 0, 1, 3.5], [0, 0, 0, 1]])
    lines = "\n".join("\t".join(f"{value:.17g}" for value in row) for row in pose)
    assert np.array_equal(numbers(lines.encode()), pose)
    assert np.array_equal(numbers(lines.replace("\t", ", ").encode()), pose)
    assert np.array_equal(numbers(b"# camera\n" + lines.replace("\n", "  # row\n\n").encode()), pose)
    assert numbers(b"1 2 3").tolist() == numbers(b"1\n2\n3\n").tolist() == [1, 2, 3] and numbers(b"7").tolist() == [7]
    assert np.isnan(numbers(b"nan inf")).tolist() == [True, False]
    for array in (pose, np.asfortranarray(pose), pose.astype(">f4"), np.arange(24, dtype=np.int16).reshape(2, 3, 4),
                  np.array([True, False])):  # fmt: skip
        found = numbers(npy(array))
        assert found.dtype == np.float64 and np.array_equal(found, array) and found.flags.writeable
    assert numbers(npy(np.array(3.0))).tolist() == [3.0]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "are none; the file is empty"),
        (b"x,y\n1,2", "line 1 holds something else: 'x,y'"),
        (b"1 2\n3", "line 2 has 1 numbers, the first has 2"),
        (b"1_000", "line 1 holds something else"),
        (b"\xff\xfe1", "is not utf-8"),
        (npy(np.zeros(9))[:-8], "the header claims 72 bytes, 64 are there"),
        (npy(np.zeros(9)) + b"x", "the header claims 72 bytes, 73 are there"),
        (npy(np.zeros(9)).replace(b"(9,)", b"(1" + b"0" * 17 + b",)", 1), "the header claims|that can be read"),
        (npy(np.zeros(3, complex)), "are complex128; real numbers are read"),
        (
            npy(np.array([{}], dtype=object), allow_pickle=True),
            "are object; real numbers are read, nothing is unpickled",
        ),
        (b"\x93NUMPY\x03\x00" + bytes(20), "are no .npy array that can be read"),
    ],
)
def test_what_are_no_numbers(data: bytes, said: str) -> None:
    with pytest.raises(StimulusError, match=said) as caught:
        numbers(data)
    assert "\n" not in str(caught.value)


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, ("never",)


def test_fuzz_only_errors_of_netphys_come_out(path: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seeds = [TEXT.encode(), npy(np.random.default_rng(0).normal(size=(4, 4))), b"1 2 3\n4 5 6\n", pickle.dumps(_Bomb()),
             npy(np.array([_Bomb()], dtype=object), allow_pickle=True)]  # fmt: skip
    counted = {"read": 0, "refused": 0}
    for index in range(150):
        data = bytearray(seeds[index % 5])
        if index // 5 % 3 == 0:
            data = data[: rng.integers(0, len(data))]
        else:
            for at in rng.integers(0, len(data), 4):
                data[at] = rng.integers(256)
        file = tmp_path / "x.txt"
        file.write_bytes(data)
        attempts = [
            lambda unit=unit, file=file: read_text(file, unit=unit) for unit in ("line", "sentence", "word", "document")
        ]
        attempts += [lambda: decode_numbers(io.BytesIO(bytes(data)), name="x")]  # noqa: B023
        attempts += [lambda: decode_text(io.BytesIO(bytes(data)), name="x")]  # noqa: B023
        for attempt in attempts:
            try:
                attempt()
            except NetphysError as error:
                assert "\n" not in str(error)
                counted["refused"] += 1
            else:
                counted["read"] += 1
    assert counted["read"] > 100 and counted["refused"] > 100 and not Path("never").exists()
