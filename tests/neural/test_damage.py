"""Damaged files of every kind: truncated, bytes changed. Whatever happens, it is one line of ours or an answer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from netphys.errors import NetphysError
from netphys.neural import describe_file, load_neural

N = 60  # damages a kind of file: 20 truncations, 20 of one byte, 20 of eight bytes
KINDS = ("npy", "npz", "csv", "mat5", "mat7", "mat73", "rdms", "nc3", "nc4")


@pytest.fixture
def whole(tmp_path: Path, stack, pairs, ids, sessions, save_73) -> Callable[[str], Path]:
    """Write an undamaged file of a kind."""

    def write(kind: str) -> Path:
        path = tmp_path / f"whole.{ {'rdms': 'h5', 'nc3': 'nc', 'nc4': 'nc'}.get(kind, kind.rstrip('0123456789')) }"
        if kind == "npy":
            np.save(path, stack)
        elif kind == "npz":
            np.savez_compressed(path, rdms=stack, stimulus_id=np.array(ids))
        elif kind == "csv":
            path.write_text(
                ",".join(ids) + "\n" + "\n".join(",".join(map(str, row)) for row in stack[0]), encoding="utf-8"
            )
        elif kind in ("mat5", "mat7"):
            from scipy.io import savemat

            savemat(path, {"RDMs": sessions[0]}, do_compression=kind == "mat7")
        elif kind == "mat73":
            save_73(path, {"RDMs": sessions[0]})
        elif kind == "rdms":
            from rsatoolbox.rdm import RDMs

            described = {"subject": ["a", "b", "c", "d"]}
            RDMs(pairs, rdm_descriptors=described, pattern_descriptors={"stimulus_id": list("abcdef")}).save(str(path))
        else:
            import xarray as xr

            coords = {"stimulus_id": ("presentation", list(ids)), "neuroid_id": ("neuroid", list("abcdef"))}
            array = xr.DataArray(stack[0], dims=("presentation", "neuroid"), coords=coords)
            array.to_dataset(name="data").to_netcdf(path, engine="scipy" if kind == "nc3" else "h5netcdf")
        return path

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_damage_ends_in_one_line(whole, listed, kind):
    path = whole(kind)
    ids = listed if kind in ("npy", "mat5", "mat7", "mat73") else None
    address = f"{path}?average=1" if kind.startswith("mat") else str(path)
    load_neural(address, ids=ids)  # undamaged it reads
    good, draws, refused = path.read_bytes(), np.random.default_rng(KINDS.index(kind)), 0
    for at in range(N):
        bad = bytearray(good)
        if at < 20:
            del bad[int(draws.integers(1, len(good))) :]
        else:
            for _ in range(1 if at < 40 else 8):
                bad[int(draws.integers(len(bad)))] = int(draws.integers(256))
        path.write_bytes(bytes(bad))
        for call in (lambda: load_neural(address, ids=ids), lambda: describe_file(path)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # numpy warns of numbers that damage made infinite
                try:
                    call()
                except NetphysError as error:
                    assert "\n" not in str(error)
                    refused += 1
    assert refused > 20  # control: the damage was seen
