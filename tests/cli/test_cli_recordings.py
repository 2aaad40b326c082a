"""``netphys verify``, ``merge`` and ``info`` of recordings: one line each, exit code 2 for damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import netphys
from netphys.cli.main import main
from netphys.cli.verify import check
from netphys.errors import NetphysError


def _record(path: Path, layers: Any = ("simple", "energy"), n: int = 5) -> Path:
    netphys.record("netphys:gabor_energy", f"world:scenes?n={n}&size=32", layers=list(layers), into=path, keep="mean")
    return path


def _flip(path: Path, layer: str) -> None:
    with h5py.File(path) as file:
        at = file["layers"][layer]["activation"].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[at + 3] ^= 0x40
    path.write_bytes(data)


def test_whole_files_are_said_and_damaged_ones_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, damaged = _record(tmp_path / "a.h5"), _record(tmp_path / "b.h5")
    shown = tmp_path / "set.h5"
    netphys.load_stimuli("world:scenes?n=3&size=32").to_hdf5(shown)
    assert main(["verify", str(whole), str(damaged), str(shown)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"whole: {whole} (recording, 2 layers x 5 stimuli)",
        f"whole: {damaged} (recording, 2 layers x 5 stimuli)",
        f"whole: {shown} (3 stimuli)",
    ]
    _flip(damaged, "energy")
    assert main(["verify", str(damaged), str(whole)]) == 2
    said = capsys.readouterr()
    assert said.out.splitlines() == [f"whole: {whole} (recording, 2 layers x 5 stimuli)"]
    (line,) = said.err.splitlines()
    assert "b.h5: layer 'energy' is not what was written (checksum of stimuli 0 to 4, units 0 to " in line


def test_every_changed_byte_of_a_value_or_text_is_found(tmp_path: Path) -> None:
    """A byte in the midst of each chunk, and in each text; none passes."""
    path = _record(tmp_path / "a.h5")
    data = path.read_bytes()
    places = [data.index(b"gabor_energy"), data.index(b'"made_by"')]
    with h5py.File(path) as file:
        for layer in ("simple", "energy"):
            each = file["layers"][layer]["activation"].id
            places += [each.get_chunk_info(n).byte_offset + 7 for n in range(each.get_num_chunks())]
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 0x01
        path.write_bytes(changed)
        with pytest.raises(NetphysError):
            check(path)
    path.write_bytes(data)
    check(path)  # control


def test_stimuli_and_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from netphys.networks import Network
    from netphys.networks.folder import save_network

    shown = tmp_path / "set.h5"
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 16, 16), dtype=np.uint8)
    netphys.StimulusSet.from_arrays(pixels, ids=list("abcd")).to_hdf5(shown)
    at = shown.read_bytes().find(pixels[2].tobytes()[:64])
    data = bytearray(shown.read_bytes())
    data[at + 5] ^= 1
    assert at > 0
    shown.write_bytes(data)
    network = netphys.load_network("netphys:gabor_energy")
    folder = save_network(tmp_path / "net", network, {}) if isinstance(network, Network) else None
    assert folder is not None
    assert main(["verify", str(folder)]) == 0
    assert capsys.readouterr().out.startswith(f"whole: {folder} (network, ")
    weights = next(folder.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x07")
    for damaged, word in ((shown, "stimulus 'c'"), (folder, "checksum"), (weights, "checksum")):
        assert main(["verify", str(damaged)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert word in line
    for odd, word in ((tmp_path / "absent.h5", "there is no"), (tmp_path, "is no network")):
        assert main(["verify", str(odd)]) == 2
        assert word in capsys.readouterr().err
    (tmp_path / "a.txt").write_text("text")
    assert main(["verify", str(tmp_path / "a.txt")]) == 2
    assert "has no checksums that netphys knows" in capsys.readouterr().err


def test_merge_and_info(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [_record(tmp_path / "a.h5", ["energy"]), _record(tmp_path / "b.h5", ["simple"])]
    out = tmp_path / "c.h5"
    assert main(["merge", *map(str, parts), "--out", str(out), "--compress", "lzf"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{out}\n" and "2 layers x 5 stimuli" in said.err
    assert main(["info", str(out)]) == 0
    text = capsys.readouterr().out
    assert "compression: lzf" in text and "a.h5 (1 layer(s) x 5 stimuli)" in text
    assert "damage: none in what the file says of itself" in text and " unit\n" in text
    assert main(["merge", *map(str, parts), "--out", str(out)]) == 2
    assert "is there already; --force replaces it" in capsys.readouterr().err
    with h5py.File(out, "r+") as file:
        file["layers"]["simple"]["stimulus_id"][0] = "another"
        file["layers"]["energy"]["stimulus_id"][0] = "another"
    assert main(["info", str(parts[0])]) == 0
    capsys.readouterr()
    assert main(["verify", str(out)]) == 2


def test_info_says_axes_tokens_and_what_was_measured(tmp_path: Path) -> None:
    from netphys.cli.info import describe
    from netphys.recording.file.entries import Entry
    from netphys.recording.file.store import Written, write_recording

    tokens = ("cls", *("patch",) * 6)
    entry = Entry("block", "Block", ("unit", "token"), (4, 7), 3, tokens=tokens, grid=(2, 3), measured={"error": 0.25})
    values = np.zeros((2, 4, 7), dtype=np.float32)
    made = {"made_by": "x", "device": "cpu", "seed": 0, "batch_plan": "b", "versions": {}, "stimuli": "s"}
    header = {
        "digest": "d", "network": "n", "training": "none", "keep": "all", "dtype": "float32",
        "provenance": {**made, "network_address": "a"},
    }  # fmt: skip
    columns = {"stimulus_id": np.array(["a", "b"], dtype=object)}
    path = tmp_path / "r.h5"
    write_recording(path, [Written(entry, lambda step: iter([(0, values)]))], columns, header)
    facts = describe(path)
    assert facts["layers"] == {"block": "4 unit x 7 token (1 cls, 6 patch), patches in a grid of 2 x 3"}
    assert facts["measured"] == {"block": {"error": 0.25}} and facts["compression"] is None


@pytest.mark.parametrize("odd", ["an array as format", "no provenance"])
def test_info_takes_odd_attributes(tmp_path: Path, odd: str) -> None:
    from netphys.cli.info import describe

    path = tmp_path / "a.h5"
    netphys.record("netphys:gabor_energy", "world:scenes?n=2", layers="energy", keep="mean", into=path)
    with h5py.File(path, "r+") as file:
        if odd == "no provenance":
            del file.attrs["sha256"]
            file.attrs["provenance"] = "{}"
        else:
            file.attrs["format"] = ["a", "b"]
    try:
        assert describe(path)
    except NetphysError as error:
        assert "\n" not in str(error)
