"""FileSource: files are decoded when read; kept all or not at all; each is digested once; the same bits any way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from netphys.errors import OptionError, StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.readers import file_source as module
from netphys.stimuli.readers.worker_pool import WORKERS

Write = Callable[..., Path]
A_FILE = 3 * 12 * 16  # bytes of an image that is decoded
N = 70


@pytest.fixture
def folder(image_folder: Write) -> Path:
    return image_folder({f"{index:03d}.png": index for index in range(N)})


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are decoded from now on."""
    names: list[str] = []
    real = module.decode_file

    def counted(kind: str, file: object, name: str, **options: object) -> object:
        names.append(name)
        return real(kind, file, name, **options)

    monkeypatch.setattr(module, "decode_file", counted)
    return names


def _kept(shown: StimulusSet) -> int:
    return sum(len(each) for each in shown._source._kept._values.values())


def test_a_set_that_fits_is_decoded_once(folder: Path, decoded: list[str]) -> None:
    shown = StimulusSet.from_folder(folder)
    first = shown.images(range(N))
    assert torch.equal(first, shown.images(range(N))) and shown.digest and not shown.conversions
    assert sorted(decoded) == list(shown.ids) and _kept(shown) == N
    assert StimulusSet.from_arrays(first, ids=shown.ids).digest == shown.digest
    first[:] = 0
    assert shown.images([0]).max() > 0  # what a caller does to his images does not reach what is kept


def test_of_a_set_that_does_not_fit_nothing_is_kept(
    folder: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = StimulusSet.from_folder(folder)
    expected, digest = whole.images(range(N)), whole.digest
    monkeypatch.setattr(module, "_CACHE_BYTES", (N - 1) * A_FILE)
    decoded.clear()
    shown = StimulusSet.from_folder(folder)
    got = [shown.images(range(start, min(start + 10, N))) for start in range(0, N, 10)]
    assert torch.equal(torch.cat(got), expected) and _kept(shown) == 0 and len(decoded) == N
    assert shown.digest == digest and len(decoded) == 2 * N and _kept(shown) == 0
    again = StimulusSet(shown._source, shown.metadata, name="again")
    assert again.digest == digest and len(decoded) == 2 * N  # a second digest is free
    shown.images([3])
    assert len(decoded) == 2 * N + 1  # control: pixels are not


def test_the_estimate_is_checked_by_what_comes(image_folder: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones first: the estimate says that all fit, and they do not."""
    folder = image_folder({f"a{index:03d}.png": index for index in range(64)}, size=(2, 2))
    image_folder({f"b{index:03d}.png": index for index in range(20)}, size=(40, 40))
    monkeypatch.setattr(module, "_CACHE_BYTES", 10 * 3 * 40 * 40)
    shown = StimulusSet.from_folder(folder)
    shown.images(range(64))
    assert _kept(shown) == 64
    shown.images(range(64, 84))
    assert _kept(shown) == 0


@pytest.mark.parametrize("block_bytes", [1 << 28, 0])
def test_batches_that_are_decoded_in_place_have_the_same_bits(
    image_folder: Write, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    folder = image_folder({f"{index}.png": index for index in range(6)}, size=(97, 131))  # by planes, by two threads
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 65536, (97, 131), dtype=np.uint16)).save(folder / "6-deep.png")
    Image.fromarray(rng.integers(0, 256, (97, 131, 4), dtype=np.uint8)).save(folder / "7-alpha.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(rng.integers(0, 256, (131, 97, 3), dtype=np.uint8)).save(folder / "8-turned.png", exif=turned)
    Image.fromarray(rng.integers(0, 256, (131, 97, 3), dtype=np.uint8)).save(folder / "9-other.png")
    expected = StimulusSet.from_folder(folder).images(range(10))
    monkeypatch.setattr(module, "_CACHE_BYTES", 0)
    monkeypatch.setattr(module, "_SMALL_BYTES", 0)
    monkeypatch.setattr(module, "_BLOCK_BYTES", block_bytes)
    shown = StimulusSet.from_folder(folder)
    for _ in range(2):  # the first look still keeps what it decodes
        for rows in (range(9), [8, 3, 7], [5, 5, 6], range(10), [9, 0]):
            got = shown.images(rows)
            assert isinstance(got, list) == (9 in rows)
            assert all(torch.equal(one, expected[row]) for one, row in zip(got, rows, strict=True))
    assert not torch.equal(shown.images([0])[0], expected[1])  # control
    first = shown.images([0, 1])
    first[:] = 0
    assert torch.equal(shown.images([0])[0], expected[0])


@pytest.mark.parametrize("workers", ["0", "2"])
def test_conversions_and_digests_are_known_after_one_look(
    folder: Path, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    Image.fromarray(np.full((12, 16), 7, dtype=np.uint8)).save(folder / "grey.png")
    plain = StimulusSet.from_folder(folder)
    plain.images(range(len(plain)))
    monkeypatch.setenv(WORKERS, workers)
    monkeypatch.setattr(module, "_CACHE_BYTES", A_FILE)
    shown = StimulusSet.from_folder(folder)
    assert shown.digest == plain.digest and shown.conversions == {"grey repeated": 1}
    (folder / "grey.png").unlink()
    assert shown.conversions == {"grey repeated": 1}
    with pytest.raises(StimulusError, match=r"grey.png cannot be .*No such file"):
        shown.images([N])


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_first_broken_file_is_named_and_all_are_left_out_on_request(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, workers: str, decoded: list[str]
) -> None:
    monkeypatch.setenv(WORKERS, workers)
    for index in (5, 9, 66):
        (folder / f"{index:03d}.png").write_bytes(b"broken")
    said = "image 005.png is broken: not an image that can be read"
    shown = StimulusSet.from_folder(folder)
    for read in (lambda: shown.images(range(N)), lambda: shown.digest):
        with pytest.raises(StimulusError) as caught:
            read()
        assert str(caught.value) == f"{said}; skip_broken=True (--skip-broken) leaves such images out"
    decoded.clear()
    with caplog.at_level(logging.WARNING):
        kept = StimulusSet.from_folder(folder, skip_broken=True)
    assert kept.left_out == ("005.png", "009.png", "066.png") and len(kept) == N - 3
    assert said in caplog.messages
    assert kept.digest and len(decoded) == (N if workers == "0" else 0)  # looked at once


def test_fields_of_several_kinds(image_folder: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = image_folder({"a.png": 1, "b.png": 2})
    for name, values in (("a", [[1, 2]]), ("b", [[3, 4]])):
        Image.fromarray(np.array(values, dtype=np.uint8)).save(folder / f"{name}-mask.png")
    (folder / "metadata.csv").write_text("file,mask\na.png,a-mask.png\nb.png,b-mask.png\n")
    digests = set()
    for workers in ("0", "1"):
        monkeypatch.setenv(WORKERS, workers)
        shown = StimulusSet.from_folder(folder, fields={"image": "file", "mask": "mask:values"})
        assert shown.get([1, 0], "mask").tolist() == [[[3, 4]], [[1, 2]]]
        digests.add(shown.digest)
    assert len(digests) == 1


def test_a_number_of_workers_that_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = StimulusSet.from_folder(folder)
    for wrong in ("many", "-1", "17", "1.5"):
        monkeypatch.setenv(WORKERS, wrong)
        with pytest.raises(OptionError, match=rf"NETPHYS_WORKERS='{wrong}' is neither 'auto' nor a number .* 0 to 16"):
            shown.images([0])


def test_a_set_of_files_goes_to_another_process(image_folder: Callable[..., Path]) -> None:
    import pickle

    shown = StimulusSet.from_folder(image_folder({"a.png": 0, "b.png": 1}))
    digest, images = shown.digest, shown.images()
    sent = pickle.dumps(shown)
    again = pickle.loads(sent)
    assert len(sent) < 20_000 and again.digest == digest and again.images().equal(images)
