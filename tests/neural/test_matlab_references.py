"""Object references of .mat files of version 7.3: what they lead to is checked, read once and counted each time."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from netphys.errors import NetphysError
from netphys.neural import load_neural
from netphys.neural.files.matlab import matlab_variables, read_matlab, struct_fields


def _classed(group: h5py.Group, name: str, matlab_class: str, **made: object) -> h5py.Dataset:
    out = group.create_dataset(name, **made)
    out.attrs["MATLAB_class"] = np.bytes_(matlab_class)
    return out


def _cell(group: h5py.Group, name: str, references: list[h5py.Reference]) -> h5py.Dataset:
    return _classed(group, name, "cell", data=np.array([references], dtype=h5py.ref_dtype))


def _hidden(path: Path, hide: Callable[[h5py.Group], object]) -> Path:
    """Write s.f, c: references to an object whose name is then taken out of the table of its group."""
    with h5py.File(path, "w") as file:
        hidden = hide(file.create_group("t"))
        file.create_group("s").attrs["MATLAB_class"] = np.bytes_("struct")
        file["s"].create_dataset("f", data=np.array([[hidden.ref]], dtype=h5py.ref_dtype))
        _cell(file, "c", [hidden.ref, hidden.ref])
    raw = path.read_bytes()
    at = raw.find(b"SNOD")
    while at >= 0:
        if struct.unpack_from("<H", raw, at + 6)[0] == 1:
            spoilt = bytearray(raw)
            struct.pack_into("<H", spoilt, at + 6, 0)
            path.write_bytes(spoilt)
            with h5py.File(path) as file:
                if not list(file["t"]) and list(file["s"]) == ["f"]:
                    return path
        at = raw.find(b"SNOD", at + 1)
    raise AssertionError("no table of names was found")


def _refused(address: str, told: str, *, peak: int = 50 * 2**20, seconds: float = 5.0) -> None:
    tracemalloc.start()
    started = time.monotonic()
    with pytest.raises(NetphysError, match=told) as raised:
        load_neural(address, ids=list("abcd"))
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(raised.value) and address.partition("?")[0] in str(raised.value)
    assert taken < peak and time.monotonic() - started < seconds


def _external(group: h5py.Group) -> h5py.Dataset:
    secret = str(Path(group.file.filename).with_name("secret.bin"))
    return _classed(group, "x", "double", shape=(3, 4), dtype="f8", external=[(secret, 0, 96)])


def _virtual(group: h5py.Group) -> h5py.Dataset:
    layout = h5py.VirtualLayout((3, 4), "f8")
    layout[:] = h5py.VirtualSource(str(Path(group.file.filename).with_name("other.h5")), "x", (3, 4))
    made = group.create_virtual_dataset("x", layout)
    made.attrs["MATLAB_class"] = np.bytes_("double")
    return made


def _huge(group: h5py.Group) -> h5py.Dataset:
    return _classed(group, "x", "double", shape=(10**5, 10**5), dtype="f8", chunks=(1000, 1000))


def _empty_of_much(group: h5py.Group) -> h5py.Dataset:
    return _classed(group, "x", "double", shape=(10**4, 10**4), dtype="f8", chunks=(1000, 1000))


def _link(group: h5py.Group) -> h5py.Group:
    made = group.create_group("x")
    made.attrs["MATLAB_class"] = np.bytes_("struct")
    made["RDM"] = h5py.ExternalLink(str(Path(group.file.filename).with_name("other.h5")), "x")
    return made


ATTACKS = {
    "external storage": (_external, r": what an object reference leads to keeps its bytes in another file"),
    "virtual": (_virtual, r"is a virtual dataset"),
    "huge": (_huge, r"claims 80\.0 GB"),
    "fill values": (_empty_of_much, r"claims 800000000 bytes from 0 bytes on disk"),
    "external link": (_link, r"is a link to elsewhere \(ExternalLink\)"),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("query", ["kind=responses&variable=s.f", "variable=s&field=f", "variable=c"])
def test_what_a_reference_alone_leads_to_is_checked(tmp_path: Path, attack, query):
    (tmp_path / "secret.bin").write_bytes(np.arange(12.0).tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.arange(12.0).reshape(3, 4)
    hide, told = ATTACKS[attack]
    _refused(f"{_hidden(tmp_path / 'data.mat', hide)}?{query}", told)


def test_an_honest_object_without_a_name_is_read(tmp_path: Path):
    """Control: the file is spoilt by what the object is, not by its missing name."""
    held = np.arange(12.0).reshape(3, 4)
    path = _hidden(tmp_path / "data.mat", lambda group: _classed(group, "x", "double", data=held))
    data = load_neural(f"{path}?kind=responses&variable=s.f", ids=list("abcd"))
    np.testing.assert_array_equal(data.assembly.values, held.T)


def test_cells_of_one_cell_again_and_again(tmp_path: Path):
    path = tmp_path / "deep.mat"
    with h5py.File(path, "w") as file:
        above = _classed(file, "leaf", "double", data=np.ones((2, 2)))
        for level in range(6):
            above = _cell(file, f"c{level}", [above.ref] * 12)
    assert path.stat().st_size < 10_000
    for level in (4, 5):  # a quarter and three million leaves
        _refused(f"{path}?variable=c{level}", rf"c{level} refers to more than 100000 objects, each time counted")
    nested = read_matlab(path, "c3")  # 20,736: it is read, each object once
    assert nested.shape == (12, 1) and nested[3, 0][4, 0][5, 0][6, 0].tolist() == [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("leaf", "n", "told"),
    [
        ({"data": np.zeros((1, 20_000)), "compression": "gzip"}, 200_000, r"refers to more than 100000 objects"),
        ({"data": np.zeros((1, 20_000)), "compression": "gzip"}, 50_000, r"claims \d+ bytes from \d+ bytes on disk"),
        ({"data": np.ones((1000, 1000))}, 300, r"claims \d+ bytes from 8\d+ bytes on disk, more than 200:1"),
    ],
)
def test_many_references_to_one_array(tmp_path: Path, leaf, n, told):
    path = tmp_path / "many.mat"
    with h5py.File(path, "w") as file:
        one = _classed(file, "leaf", "double", **leaf)
        cell = _classed(
            file, "c", "cell", shape=(1, n), dtype=h5py.ref_dtype, chunks=(1, min(n, 10_000)), compression="gzip"
        )
        cell[0] = np.array([one.ref] * n, dtype=h5py.ref_dtype)
    _refused(f"{path}?variable=c", told)
    _refused(f"{path}?kind=responses&variable=c", told)


def test_a_struct_of_one_group_by_many_names(tmp_path: Path):
    """Hard links do what references do: 12 names of one group, five levels deep."""
    path = tmp_path / "names.mat"
    with h5py.File(path, "w") as file:
        above = _classed(file, "leaf", "double", data=np.ones((2, 2)))
        for level in range(6):
            group = file.create_group(f"g{level}")
            for at in range(12):
                group[f"f{at}"] = above
            above = group
    _refused(f"{path}?kind=responses&variable=g5.f1.f2", r"refers to more than 100000 objects")
    assert len(struct_fields(path, "g5")) == 12 + 12 * 12
    assert load_neural(f"{path}?kind=responses&variable=g1.f3.f4", ids=list("ab")).assembly.values.tolist() == [
        [1.0, 1.0],
        [1.0, 1.0],
    ]


def test_what_two_fields_share_can_be_written_to(tmp_path: Path):
    path = tmp_path / "shared.mat"
    with h5py.File(path, "w") as file:
        one = _classed(file, "leaf", "double", data=np.arange(12.0).reshape(3, 4))
        for name in ("d/s/a", "d/s/b"):
            file[name] = one
        for name in ("d", "d/s"):
            file[name].attrs["MATLAB_class"] = np.bytes_("struct")
    both = read_matlab(path, "d")["s"][0, 0]
    assert both["a"][0, 0] is both["b"][0, 0] and not both["a"][0, 0].flags.writeable
    data = load_neural(f"{path}?kind=responses&variable=d.s.b", ids=list("abcd"))
    data.assembly.values[0, 0] = 7.0
    assert load_neural(f"{path}?kind=responses&variable=d.s.a", ids=list("abcd")).assembly.values[0, 0] == 0.0


def test_depth_counts_from_the_top_wherever_it_was_read_first(tmp_path: Path):
    path = tmp_path / "chain.mat"
    with h5py.File(path, "w") as file:
        above = _classed(file, "leaf", "double", data=np.ones((2, 2)))
        chain = [above := _cell(file, f"c{at}", [above.ref]) for at in range(30)]
        _cell(file, "top", [chain[at].ref for at in (10, 20, 29)])
    assert read_matlab(path, "c10").shape == (1, 1)
    for name in ("c29", "top"):
        with pytest.raises(NetphysError, match=rf"{name} is nested deeper than 16"):
            read_matlab(path, name)


def test_characters_beyond_16_bits(tmp_path: Path):
    """An emoji is two units of UTF-16; half of one is no text."""
    path = tmp_path / "text.mat"
    words = ["a😀", "häuser", "中文"]
    with h5py.File(path, "w") as file:
        cells = []
        for at, word in enumerate([*words, "😀"]):
            units = np.frombuffer(word.encode("utf-16-le"), dtype="<u2")[:, None]
            cells.append(_classed(file, f"#refs#/{at}", "char", data=units).ref)
        _cell(file, "names", cells[:3])
        _classed(file, "x", "double", data=np.arange(6.0).reshape(2, 3))
        _classed(file, "half", "char", data=np.array([[0xD83D]], dtype=np.uint16))
        _cell(file, "halves", [*cells[:2], file["half"].ref])
    data = load_neural(f"{path}?kind=responses&variable=x&stimulus=names")
    assert data.stimulus_ids == tuple(words)
    assert "".join(data.stimulus_ids).encode()  # surrogates have no UTF-8
    with pytest.raises(
        NetphysError, match=r"/half is no text: .*surrogate|/half is no text: .*unexpected end"
    ) as raised:
        load_neural(f"{path}?kind=responses&variable=x&stimulus=halves")
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)


def test_text_of_variable_length_is_no_cell(tmp_path: Path):
    """To numpy both are objects, and both dtypes are equal."""
    assert h5py.string_dtype() == h5py.ref_dtype
    path = tmp_path / "data.mat"
    with h5py.File(path, "w") as file:
        file["x"] = np.array([["a", "b"]], dtype=h5py.string_dtype())
        file.create_group("s")["x"] = file["x"]
        file["s"].attrs["MATLAB_class"] = np.bytes_("struct")
        file["v"] = np.arange(3.0)
    assert matlab_variables(path)["s"].shape == (1, 1)
    for name in ("x", "s.x"):
        with pytest.raises(NetphysError, match=r"/x is object; save it as a full array of real numbers"):
            load_neural(f"{path}?kind=responses&variable={name}", ids=["a"])


@pytest.mark.parametrize("version", ["5", "7", "7.3"])
def test_fields_are_listed_from_headers(tmp_path: Path, version, save_73):
    from scipy.io import savemat

    names = np.empty((2, 1), dtype=object)
    names[:, 0] = ["a", "b"]
    held = {
        "data": {"rates": np.zeros((5, 3)), "names": names, "info": {"animal": "m1", "deep": {"x": np.ones((2, 2))}}},
        "x": np.zeros((2, 2)),
    }
    path = tmp_path / "data.mat"
    if version == "7.3":
        save_73(path, held)
    else:
        savemat(path, held, do_compression=version == "7")
    found = struct_fields(path, "data")
    assert {name: (each.name, each.shape, each.kind) for name, each in found.items()} == {
        "data.rates": ("data.rates", (5, 3), "numbers"),
        "data.names": ("data.names", (2, 1), "cell"),
        "data.info": ("data.info", (1, 1), "struct"),
        "data.info.animal": ("data.info.animal", (1, 2), "text"),
        "data.info.deep": ("data.info.deep", (1, 1), "struct"),  # and no level further
    }
    assert struct_fields(path, "x") == {} and struct_fields(path, "absent") == {}


def test_fields_of_struct_arrays_and_of_large_structs_are_not_listed(tmp_path: Path, sessions, save_73):
    from scipy.io import savemat

    savemat(tmp_path / "five.mat", {"RDMs": sessions[0]})
    save_73(tmp_path / "seven.mat", {"RDMs": sessions[0]})
    for name in ("five.mat", "seven.mat"):
        assert struct_fields(tmp_path / name, "RDMs") == {}
    savemat(tmp_path / "large.mat", {"s": {"x": np.zeros((9, 2**20))}})  # 72 MiB
    assert struct_fields(tmp_path / "large.mat", "s") == {}
