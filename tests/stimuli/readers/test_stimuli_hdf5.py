"""write_hdf5 and read_hdf5: the same set, the same digest; a changed byte is an error, never other pixels."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import netphys
from netphys.errors import FileError, NetphysError, OptionError, OutputError, StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.readers.hdf5 import read_hdf5, write_hdf5
from netphys.stimuli.sources import Generated

PIXELS = np.random.default_rng(0).integers(0, 256, (70, 3, 32, 32), dtype=np.uint8)
TABLE = pd.DataFrame({"stimulus_id": [f"s{k}" for k in range(70)], "category": ["face", "house"] * 35, "n": range(70)})


def six(**options: Any) -> StimulusSet:
    return StimulusSet.from_arrays(PIXELS[:6], metadata=TABLE[:6], name="six", **options)


def same(first: Any, second: Any) -> bool:
    """Compare texts, tensors, and arrays of sources that give arrays."""
    pairs = zip(first, second, strict=True)
    return all(a == b if isinstance(a, str) else torch.equal(a, torch.as_tensor(b)) for a, b in pairs)


def test_a_folder_and_its_hdf5_are_the_same_set(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = image_folder({"face/b.png": 1, "face/a.png": 2, "d.png": 3})
    Image.fromarray(PIXELS[0, 0]).save(folder / "grey.png")  # another size, another mode
    shown = StimulusSet.from_folder(folder)
    kept = StimulusSet.from_hdf5(shown.to_hdf5(tmp_path / "new" / "set.h5"))
    assert kept.digest == shown.digest and kept.ids == shown.ids and kept.name == "images"
    assert same(kept.images(range(4)), shown.images(range(4)))
    assert kept.conversions == shown.conversions == {"grey repeated": 1}
    pd.testing.assert_frame_equal(kept.metadata, shown.metadata)
    assert kept.subset([2, 0]).digest == shown.subset([2, 0]).digest != shown.digest


@pytest.mark.parametrize("address", ["", "classic:gratings?orientation=0,90&blank=true"])
def test_missing_texts_stay_missing(tmp_path: Path, address: str) -> None:
    more = StimulusSet.from_arrays(PIXELS[6:8], ids=["x", "y"])
    shown = netphys.load_stimuli(address) if address else six() + more
    n_missing = int(shown.metadata.isna().sum().sum())
    path = shown.to_hdf5(tmp_path / "a.h5")
    kept = StimulusSet.from_hdf5(path)
    pd.testing.assert_frame_equal(kept.metadata, shown.metadata)
    assert kept.metadata.isna().sum().sum() == n_missing > 0 and kept.digest == shown.digest
    assert shown.to_hdf5(path) == kept.to_hdf5(path) == path  # it holds this set, with its metadata, already
    table = shown.metadata
    text = table.dtypes.eq(table["stimulus_id"].dtype) & table.isna().any()
    table.loc[:, text] = table.loc[:, text].fillna("")
    filled = StimulusSet(shown._source, table, name=shown.name)  # control: empty is another table
    with pytest.raises(OutputError, match="holds these stimuli with other metadata"):
        filled.to_hdf5(path)


@pytest.mark.parametrize("compression", ["auto", "gzip", "lzf", None])
def test_arrays_come_back_in_any_order(tmp_path: Path, compression: str | None) -> None:
    shown = StimulusSet.from_arrays(PIXELS, metadata=TABLE, name="seventy")
    kept = StimulusSet.from_hdf5(shown.to_hdf5(tmp_path / "a.h5", compression=compression))
    assert repr(kept) == repr(shown) and kept.digest == shown.digest
    for rows in ([5, 3, 4, 4], [69], range(70), []):
        assert torch.equal(kept.images(rows), shown.images(rows)) if len(rows) else not len(kept.images(rows))
    assert not torch.equal(kept.images([0]), shown.images([1]))  # control


def test_every_field_comes_back_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    fields = {
        "text": ["", "ü", "a\0b", "word " * 500, "x", "y"],
        "boxes": [np.zeros((k % 3, 4), np.int32) + k for k in range(6)],
        "several": [np.zeros(2, np.uint8), np.zeros((2, 2), np.float32), *[np.ones(1, np.int32)] * 4],
        "latents": rng.normal(size=(6, 4)),
        "odd/name.": rng.random(6) > 0.5,
        "sound": rng.normal(size=(6, 100)).astype(np.float32),
        "empty": np.zeros((6, 0, 4), np.float32),
        "clip": rng.integers(0, 256, (6, 4, 3, 8, 8), dtype=np.uint8),
    }
    shown = six(fields=fields)
    kept = StimulusSet.from_hdf5(shown.to_hdf5(tmp_path / "a.h5"))
    assert kept.fields == shown.fields and kept.digest == shown.digest
    for field in shown.fields:
        assert same(kept.get([4, 1, 0], field), shown.get([4, 1, 0], field)), field


def test_sizes_that_differ_after_a_batch_of_equal_ones(tmp_path: Path) -> None:
    images = [*PIXELS, PIXELS[0][:, :7], PIXELS[1][:, :, :1]]
    shown = StimulusSet.from_arrays(images)
    path = shown.to_hdf5(tmp_path / "a.h5", compression="gzip")  # chunks that are packed have no empty end
    kept = StimulusSet.from_hdf5(path)
    assert kept.digest == shown.digest and same(kept.images(range(72)), shown.images(range(72)))
    assert path.stat().st_size < 1.3 * PIXELS.nbytes  # the space of the first layout is used again


def test_generated_and_treated_sets_keep_their_recipe(tmp_path: Path) -> None:
    shown = netphys.load_stimuli("world:scenes?n=2&size=32")
    kept = StimulusSet.from_hdf5(shown.to_hdf5(tmp_path / "a.h5"))
    assert kept.digest == shown.digest and kept.fields == shown.fields
    assert all(same(kept.get([1, 0], field), shown.get([1, 0], field)) for field in shown.fields)
    alone = StimulusSet.from_hdf5(shown.to_hdf5(tmp_path / "b.h5", fields=["image"]))
    assert alone.fields == ("image",) and alone.digest == shown.digest  # the recipe is that of the image, too
    source = Generated({"image": lambda rows: torch.rand(len(rows), 3, 2, 2)}, {"seed": 0})
    treated = StimulusSet(source, TABLE[:2], name="made", treatment="contrast 0.5")
    kept = StimulusSet.from_hdf5(treated.to_hdf5(tmp_path / "c.h5"))
    assert kept.treatment == "contrast 0.5" and kept.digest == treated.digest


def test_fields_that_are_chosen_are_the_set_of_these_fields(tmp_path: Path) -> None:
    shown = six(fields={"text": list("uvwxyz"), "latents": np.arange(6.0)})
    kept = StimulusSet.from_hdf5(shown.to_hdf5(tmp_path / "a.h5", fields=["image"]))
    assert kept.fields == ("image",) and kept.digest == six().digest != shown.digest
    with pytest.raises(StimulusError, match="six has no field 'imgae'; near: 'image'"):
        shown.to_hdf5(tmp_path / "b.h5", fields=["imgae"])


def test_plain_h5py_and_json_read_the_file(tmp_path: Path) -> None:
    with h5py.File(six().to_hdf5(tmp_path / "a.h5"), "r") as file:
        assert np.array_equal(file["fields/image"][:], PIXELS[:6])
        assert file["fields/image"].attrs["axes"] == b"stimulus colour y x"
        assert file["stimuli/category"].asstr()[:].tolist() == TABLE["category"].tolist()[:6]
        record = json.loads(file["record"][:].tobytes())
        assert file.attrs["digest"].decode() == record["digest"] == six().digest
    assert record["provenance"]["made_by"] == "netphys.StimulusSet.to_hdf5" and record["name"] == "six"


def test_another_file_is_not_replaced_the_same_set_is_taken(tmp_path: Path) -> None:
    path = six().to_hdf5(tmp_path / "a.h5")
    before = path.stat().st_mtime_ns
    assert six().to_hdf5(path) == path and path.stat().st_mtime_ns == before
    other = StimulusSet.from_arrays(PIXELS[1:7], metadata=TABLE[:6])
    for shown, said in (
        (other, "holds other stimuli"),
        (six(fields={"text": list("uvwxyz")}), "holds other stimuli"),
        (
            StimulusSet.from_arrays(PIXELS[:6], metadata=TABLE[:6].assign(n=0)),
            "holds these stimuli with other metadata",
        ),
    ):
        with pytest.raises(OutputError, match=rf"a.h5 {said}; choose another name, or force=True replaces it"):
            shown.to_hdf5(path)
    assert StimulusSet.from_hdf5(other.to_hdf5(path, force=True)).digest == other.digest
    (tmp_path / "notes.h5").write_text("mine")
    with pytest.raises(OutputError, match="is there and holds something else"):
        six().to_hdf5(tmp_path / "notes.h5")
    assert (tmp_path / "notes.h5").read_text() == "mine"


def test_a_set_that_cannot_be_read_leaves_no_file(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = image_folder({"a.png": 1, "b.png": 2, "c.png": 3})
    (folder / "c.png").write_bytes(b"broken")
    with pytest.raises(StimulusError, match="image c.png is broken"):
        StimulusSet.from_folder(folder).to_hdf5(tmp_path / "out" / "a.h5")
    assert not list((tmp_path / "out").iterdir())
    kept = StimulusSet.from_folder(folder, skip_broken=True).to_hdf5(tmp_path / "out" / "a.h5")
    assert StimulusSet.from_hdf5(kept).left_out == ("c.png",)


@pytest.mark.parametrize(
    ("ids", "options", "error", "said"),
    [
        (["a", "b\0"], {}, StimulusError, r"stimulus_id 'b\\x00' of arrays is not text that HDF5 keeps"),
        (["a", "\ud800"], {}, StimulusError, "is not text that HDF5 keeps"),
        (["a", "b"], {"compression": "zip"}, OptionError, "compression is 'auto', 'gzip', 'lzf' or None, not 'zip'"),
    ],
)
def test_what_hdf5_does_not_keep_is_refused(
    tmp_path: Path, ids: list[str], options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        write_hdf5(StimulusSet.from_arrays(PIXELS[:2], ids=ids), tmp_path / "a.h5", **options)
    assert not list(tmp_path.iterdir())


def _flip(path: Path, where: str) -> None:
    """Change one byte of a dataset's stored values."""
    with h5py.File(path, "r") as file:
        data = file[where]
        offset = data.id.get_offset() if data.chunks is None else data.id.get_chunk_info(0).byte_offset
    with path.open("r+b") as raw:
        raw.seek(offset + 3)
        value = raw.read(1)[0]
        raw.seek(offset + 3)
        raw.write(bytes([value ^ 0x10]))


def test_a_flipped_byte_names_the_stimulus_and_the_others_are_read(tmp_path: Path) -> None:
    big = StimulusSet.from_arrays(np.random.default_rng(2).integers(0, 256, (3, 3, 300, 300), dtype=np.uint8))
    for compression in (None, "gzip"):
        path = big.to_hdf5(tmp_path / f"{compression}.h5", compression=compression)
        _flip(path, "fields/image")
        if compression is None:  # control: a reader that does not compare shows another pixel
            with h5py.File(path, "r") as file:
                assert (file["fields/image"][:] != big.images(range(3)).numpy()).sum() == 1
        kept = StimulusSet.from_hdf5(path)
        assert torch.equal(kept.images([1, 2]), big.images([1, 2]))  # control: only the first is damaged
        with pytest.raises(
            StimulusError, match="image of stimulus '0' (is not what was written|cannot be read)"
        ) as caught:
            kept.images([2, 0, 1])
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    "where", ["checksums/image", "stimuli/n", "stimuli/stimulus_id", "digests/bytes", "record", "conversions"]
)
def test_a_flipped_byte_of_what_the_file_says_is_seen_when_it_is_opened(tmp_path: Path, where: str) -> None:
    path = six().to_hdf5(tmp_path / "a.h5", compression=None)
    StimulusSet.from_hdf5(path)  # control
    _flip(path, where)
    with pytest.raises(NetphysError, match=r"a\.h5") as caught:
        StimulusSet.from_hdf5(path)
    assert "\n" not in str(caught.value)


def _no_sums(file: h5py.File) -> None:
    del file["checksums"]


def _soft_link(file: h5py.File) -> None:
    file["more"] = h5py.SoftLink("/fields")


def _external(file: h5py.File) -> None:
    file.create_dataset("more", (8,), "u1", external=[("/etc/passwd", 0, 8)])


def _claims(file: h5py.File) -> None:
    del file["conversions"]
    file.create_dataset("conversions", (10**13,), "i4", chunks=(1 << 20,))


def _other_version(file: h5py.File) -> None:
    file.attrs["format"] = np.bytes_(b"netphys-stimuli-2")


def _no_format(file: h5py.File) -> None:
    del file.attrs["format"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_no_sums, "cannot be read as HDF5|record is damaged"), (_soft_link, "is a link to elsewhere"),
        (_external, "keeps its bytes in another file"), (_claims, "claims"),
        (_other_version, "is of the format 'netphys-stimuli-2'; this version of netphys reads 'netphys-stimuli-1'"),
        (_no_format, "its record is damaged"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_a_file_that_was_changed_is_one_line(tmp_path: Path, damage: Any, said: str) -> None:
    path = six().to_hdf5(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(FileError, match=said) as caught:
        StimulusSet.from_hdf5(path)
    assert "\n" not in str(caught.value)


def test_no_text_of_any_length_is_in_the_file(tmp_path: Path) -> None:
    odd: list[str] = []

    def look(name: str, item: Any) -> None:
        kinds = [item.attrs.get_id(each).dtype for each in item.attrs]
        kinds += [item.dtype] if isinstance(item, h5py.Dataset) else []
        known = [h5py.check_string_dtype(each) for each in kinds]
        odd.extend(name for each in known if each is not None and each.length is None)

    path = six(fields={"text": list("uvwxyz")}).to_hdf5(tmp_path / "a.h5")
    assert b"GCOL" not in path.read_bytes()  # HDF5's heap of such texts: damaged ones make it loop for ever
    with h5py.File(path, "r+") as file:
        look("/", file)
        file.visititems(look)
        assert not odd
        file.attrs["control"] = "of any length"
        look("/", file)
    assert odd == ["/"]


def test_a_set_of_one_colour_is_no_bomb(tmp_path: Path) -> None:
    flat = StimulusSet.from_arrays(np.full((40, 3, 512, 512), 127, np.uint8))  # 31 MB that become 1:900
    path = flat.to_hdf5(tmp_path / "a.h5")
    assert path.stat().st_size < 31e6 / 200
    assert torch.equal(StimulusSet.from_hdf5(path).images([39]), flat.images([39]))


def test_threads_and_pickles_read_the_same(tmp_path: Path) -> None:
    shown = StimulusSet.from_arrays(PIXELS, metadata=TABLE)
    kept = StimulusSet.from_hdf5(shown.to_hdf5(tmp_path / "a.h5"))
    kept.images([0])
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: kept.images([row])[0], [*range(70)] * 3))
    assert all(torch.equal(image, shown.images([row])[0]) for image, row in zip(found, [*range(70)] * 3, strict=True))
    source = pickle.loads(pickle.dumps(kept._source))
    assert torch.equal(source.read("image", np.array([7])), shown.images([7]))


def _child(source: Any, row: int, answers: Any) -> None:
    answers.put((os.getpid(), source.read("image", np.array([row])).numpy().tobytes()))


def test_forked_processes_open_the_file_themselves(tmp_path: Path) -> None:
    kept = StimulusSet.from_hdf5(StimulusSet.from_arrays(PIXELS).to_hdf5(tmp_path / "a.h5"))
    kept.images([0])
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    children = [context.Process(target=_child, args=(kept._source, 3, answers)) for _ in range(2)]
    for child in children:
        child.start()
    found = dict(answers.get(timeout=30) for _ in children)
    for child in children:
        child.join()
    assert len(found) == 2 and set(found.values()) == {PIXELS[3].tobytes()}


def test_ours_needs_no_parameters_and_absent_files_are_named(tmp_path: Path) -> None:
    path = six().to_hdf5(tmp_path / "a.h5")
    with pytest.raises(OptionError, match="was written by netphys and says itself what it holds; leave out dataset="):
        read_hdf5(path, dataset="fields/image")
    with pytest.raises(StimulusError, match="no HDF5 file .*absent.h5"):
        read_hdf5(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(StimulusError, match="text.h5 is no HDF5 file"):
        read_hdf5(tmp_path / "text.h5")


_LIMITED = """
import gc, resource, sys
from pathlib import Path
import numpy as np
from netphys.errors import OutputError
from netphys.stimuli import StimulusSet

pixels = np.random.default_rng(0).integers(0, 256, (300, 3, 64, 64), dtype=np.uint8)
mixed = [*pixels[:200], *(each[:, :60] for each in pixels[200:])]
for images in (pixels, mixed):
    for n_bytes in (1 << 16, 1 << 20, 3 << 20, 3_600_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))
        try:
            StimulusSet.from_arrays(images).to_hdf5(Path(sys.argv[1]) / "a.h5")
        except OutputError as error:
            assert "the file would be larger than this system allows" in str(error)
            print("refused")
        gc.collect()  # a half-written HDF5 crashes here, if anywhere
        assert not list(Path(sys.argv[1]).iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print("written", StimulusSet.from_arrays(pixels).to_hdf5(Path(sys.argv[1]) / "a.h5").stat().st_size)
"""


def test_a_disk_that_fills_is_one_line_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", _LIMITED, str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    *refused, (_, n_bytes) = (line.split() for line in done.stdout.splitlines())
    assert refused == [["refused"]] * 8 and 3_600_000 < int(n_bytes) < 4_000_000  # what was taken ahead is given back


def test_drawings_are_compressed_and_photographs_are_not(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
    drawn = np.where(np.arange(32) > 15, 200, 10).astype(np.uint8) * np.ones((20, 3, 32, 1), dtype=np.uint8)
    shown = StimulusSet.from_arrays(noise, fields={"drawing": drawn, "smooth": drawn.astype(np.float32)})
    with h5py.File(shown.to_hdf5(tmp_path / "a.h5"), "r") as file:
        assert file["fields/image"].compression is None
        assert file["fields/drawing"].compression == file["fields/smooth"].compression == "gzip"
    assert StimulusSet.from_hdf5(tmp_path / "a.h5").digest == shown.digest
