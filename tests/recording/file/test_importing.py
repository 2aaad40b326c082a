"""Features computed elsewhere come in as recordings: whoever wrote them, in whatever layout, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from netphys.errors import AddressError, FileError, MatchError, NetphysError, RecordingError
from netphys.recording import load_recording

IDS = ["b.png", "a.jpg", "ü ñ.png", "c.tiff", "d.png"]
DENSE = np.random.default_rng(0).normal(size=(5, 7)).astype("f4")
MAPS = np.random.default_rng(1).normal(size=(5, 3, 4, 4))
TOKENS = np.random.default_rng(2).normal(size=(5, 6, 8)).astype("f4")  # thingsvision: (stimulus, token, unit)


def _folder(path: Path, names: bool = True) -> Path:
    path.mkdir()
    if names:
        (path / "file_names.txt").write_text("".join(f"{each}\n" for each in IDS), encoding="utf-8")
    return path


def _write(path: Path, values: np.ndarray) -> None:
    """Write as thingsvision does."""
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix in (".txt", ".csv"):
        np.savetxt(path, values, delimiter="," if path.suffix == ".csv" else " ")
    elif path.suffix == ".mat":
        savemat(path, {"features": values})
    else:
        with h5py.File(path, "w") as file:
            file["features"] = values


@pytest.mark.parametrize("kind", ["npy", "txt", "csv", "hdf5", "mat"])
def test_a_folder_of_thingsvision(tmp_path: Path, kind: str) -> None:
    folder = _folder(tmp_path / "alexnet")
    _write(folder / f"features.{kind}", DENSE)
    loaded = load_recording(folder)
    assert loaded.layers == ("alexnet",) and loaded.stimulus_ids == tuple(IDS) and loaded.training == "unknown"
    assert np.array_equal(loaded.array("alexnet").astype("f4"), DENSE)  # 17 digits bring a float back


def test_pieces_in_a_folder_a_layer(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "vit")
    for layer, values in (("blocks.1", TOKENS), ("features.3", MAPS)):
        (folder / layer).mkdir()
        for first, last in ((0, 2), (2, 4), (4, 5)):
            np.save(folder / layer / f"features_{first}-{last}.npy", values[first:last])
    loaded = load_recording(folder)
    assert loaded.layers == ("blocks.1", "features.3") and loaded.dims("blocks.1") == ("stimulus", "unit", "token")
    assert np.array_equal(loaded.array("blocks.1"), TOKENS.transpose(0, 2, 1))
    assert np.array_equal(loaded.array("features.3"), MAPS)
    assert np.array_equal(loaded.select(stimuli=["c.tiff"], units=[2]).array("features.3"), MAPS[3:4, 2:3])
    (folder / "blocks.1" / "features_2-4.npy").unlink()
    with pytest.raises(RecordingError, match=r"features_4-5.npy holds 1 stimuli, the 2 before it leave a gap"):
        load_recording(folder)


def test_ten_numbered_pieces_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "net", names=False)
    values = np.arange(24.0).reshape(12, 2)
    for number in range(1, 13):
        np.save(folder / f"features_{number:d}.npy", values[number - 1 : number])
    loaded = load_recording(folder, stimulus_ids=[str(each) for each in range(12)])
    assert np.array_equal(loaded.array("net"), values)  # sorted as texts, 10 would stand before 2


def test_a_variable_a_stimulus_in_mat(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "net")
    (folder / "file_names.txt").write_text("b.png\na.jpg\n")
    savemat(folder / "features.mat", {"a": DENSE[0], "b": DENSE[1]})
    assert np.array_equal(load_recording(folder).array("net"), DENSE[[1, 0]])
    (folder / "file_names.txt").write_text("b.png\nz.jpg\n")
    with pytest.raises(RecordingError, match=r"has no features of \['z'\]"):
        load_recording(folder)


def test_names_lose_their_folder_and_suffixes_are_chosen(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "net")
    (folder / "file_names.txt").write_text("/data/images/cat/1.png\n/data/images/dog/1.png\n")
    for suffix, values in (("_train", DENSE[:2]), ("_val", DENSE[2:4])):
        np.save(folder / f"features{suffix}_0-2.npy", values)
    with pytest.raises(RecordingError, match="holds several features .*_train.*; say .suffix="):
        load_recording(folder)
    loaded = load_recording(f"{folder}?suffix=_val&root=/data/images")
    assert loaded.stimulus_ids == ("cat/1.png", "dog/1.png") and np.array_equal(loaded.array("net"), DENSE[2:4])


def _hdf5(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["acts/conv"] = MAPS.transpose(1, 2, 3, 0)  # stimuli last
        file["acts/fc"] = DENSE.T.astype(">f4")
        file["tokens"] = TOKENS
        file["names"] = IDS
        file["numbers"] = np.arange(5) + 10
        file["matrix"] = np.zeros((2, 2, 2))
    return path


def test_an_hdf5_of_any_layout(tmp_path: Path) -> None:
    path = _hdf5(tmp_path / "features.h5")
    loaded = load_recording(f"{path}?layer=acts/conv,acts/fc&ids=names&axis=-1&unit=0")
    assert loaded.layers == ("acts/conv", "acts/fc") and loaded.stimulus_ids == tuple(IDS)
    assert np.array_equal(loaded.array("acts/conv"), MAPS) and np.array_equal(loaded.array("acts/fc"), DENSE)
    assert loaded.array("acts/fc").dtype.isnative and loaded.dims("acts/conv") == ("stimulus", "unit", "y", "x")
    assert load_recording(f"{path}?layer=acts&ids=names&axis=-1&unit=0").layers == loaded.layers
    tokens = load_recording(f"{path}?layer=/tokens&ids=numbers&unit=2")
    assert tokens.stimulus_ids == ("10", "11", "12", "13", "14")
    assert np.array_equal(tokens.array("tokens"), TOKENS.transpose(0, 2, 1))
    (tmp_path / "ids.csv").write_text("n,file\n" + "".join(f"{n},{each}\n" for n, each in enumerate(IDS)))
    assert load_recording(f"{path}?layer=tokens&ids={tmp_path / 'ids.csv'}:file").stimulus_ids == tuple(IDS)
    (tmp_path / "ids.txt").write_text("\n".join(IDS))
    np.save(tmp_path / "fc.npy", DENSE)
    assert load_recording(f"{tmp_path / 'fc.npy'}?ids={tmp_path / 'ids.txt'}").stimulus_ids == tuple(IDS)


@pytest.mark.parametrize(
    ("query", "error", "said"),
    [
        ("", RecordingError, "is not a recording of netphys"),
        ("?ids=names", RecordingError, r"which features\? say \?layer=DATASET; there are: 'acts/conv', 'acts/fc'"),
        ("?layer=acts/konv&ids=names", RecordingError, "has no features 'acts/konv'; near: 'acts/conv'"),
        ("?layer=names&ids=names", RecordingError, "has no features 'names'"),
        ("?layer=tokens", RecordingError, "names no stimuli"),
        ("?layer=tokens&ids=matrix", RecordingError, "/matrix is no list of stimuli"),
        ("?layer=matrix&ids=names", RecordingError, "5 stimuli need"),
        ("?layer=tokens&ids=names&axis=4", RecordingError, "has 3 axes, of which 4 cannot be stimuli"),
        ("?layer=tokens&ids=names&unit=0", RecordingError, "of which 0 cannot be stimuli and 0 units"),
        ("?layer=tokens&ids=names&axes=0", AddressError, "takes no option 'axes'; near: 'axis'"),
        ("?layer=tokens&ids=nowhere.csv:file", RecordingError, "there is no file nowhere.csv"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, query: str, error: Any, said: str) -> None:
    path = _hdf5(tmp_path / "features.h5")
    with pytest.raises(error, match=said) as caught:
        load_recording(f"{path}{query}")
    assert "\n" not in str(caught.value)


def test_strangers_files_point_nowhere_and_claim_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * 4096)
    path = tmp_path / "f.h5"
    attacks: dict[str, Any] = {
        "is a link to elsewhere": lambda file: file.__setitem__("a", h5py.ExternalLink(str(secret), "/x")),
        "is a link to": lambda file: file.__setitem__("a", h5py.SoftLink("/b")),
        "keeps its bytes in another file": lambda file: file.create_dataset(
            "a", (4, 256), "f4", external=[(str(secret), 0, 4096)]
        ),
        "claims": lambda file: file.create_dataset("a", (10**6, 10**7), "f4", chunks=(1, 1000)),
    }
    for said, attack in attacks.items():
        with h5py.File(path, "w") as file:
            attack(file)
            file["names"] = ["a", "b", "c", "d"]
        with pytest.raises(FileError, match=said) as caught:
            load_recording(f"{path}?layer=a&ids=names")
        assert "\n" not in str(caught.value)


def test_pickles_and_empty_folders_are_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "net")
    with pytest.raises(RecordingError, match="holds no features of thingsvision"):
        load_recording(folder)
    (folder / "features.pt").write_bytes(b"pickle")
    with pytest.raises(RecordingError, match=r"features.pt is pickled, which is never read; save it as .npy"):
        load_recording(folder)
    (folder / "features.pt").unlink()
    np.save(folder / "features.npy", DENSE[:4])
    with pytest.raises(RecordingError, match="5 stimuli need"):
        load_recording(folder)
    (folder / "file_names.txt").write_text("a\na\nb\nc\n")
    with pytest.raises(MatchError, match="occur more than once"):
        load_recording(folder)
    np.save(folder / "features.npy", np.array([{}] * 4, dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match="pickled Python objects"):
        load_recording(folder)
    for kind in ("txt", "mat", "hdf5"):
        (folder / "features.npy").unlink(missing_ok=True)
        (folder / f"features.{kind}").write_bytes(b"\x89HDF odd")
        with pytest.raises(NetphysError, match=f"features.{kind}") as caught:
            load_recording(folder)
        assert "\n" not in str(caught.value)
        (folder / f"features.{kind}").unlink()


def test_a_name_that_is_too_long_is_one_line() -> None:
    for address in ("n" * 300 + ".h5?layer=a", "n" * 300):
        with pytest.raises(RecordingError, match="no recording at"):
            load_recording(address)


def test_two_names_of_one_dataset_count_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from netphys.recording.file import importing

    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["a"], file["ids"] = np.ones((4, 100), np.float32), [b"p", b"q", b"r", b"s"]
        file["b"] = file["a"]
    monkeypatch.setattr(importing, "BUDGET", 2000)
    assert load_recording(f"{path}?layer=a&ids=ids").layers == ("a",)
    with pytest.raises(FileError, match="what was asked for claims"):
        load_recording(f"{path}?layer=a,b&ids=ids")
