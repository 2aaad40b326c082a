"""``netphys neural``: facts, a figure, a table, a netCDF; what is unclear is listed and ends in 2."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from netphys.cli.main import main

AXES = "kind=responses&axes=neuroid,stimulus,repetition"


@pytest.fixture
def data(tmp_path: Path) -> tuple[str, str]:
    """Address of responses with repetitions, and their list of ids."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "it.npz", trials=rng.normal(size=(4, 9, 1)) + 0.3 * rng.normal(size=(4, 9, 5)), other=np.eye(3))
    (tmp_path / "list.csv").write_text("file\n" + "\n".join(f"{at}.png" for at in range(9)) + "\n")
    return str(tmp_path / "it.npz"), f"{tmp_path / 'list.csv'}:file"


def test_facts_figure_table_and_netcdf(data, tmp_path, capsys):
    address, ids = f"{data[0]}?variable=trials&{AXES}&region=IT&subject=Tito", data[1]
    figure, table, netcdf = tmp_path / "it.png", tmp_path / "it.csv", tmp_path / "it.nc"
    arguments = ["neural", address, "--ids", ids, "--out", str(figure), "--csv", str(table), "--to-netcdf", str(netcdf)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "9: 0.png, 1.png" in said and "IT (4)" in said and "Tito (4)" in said and "reliability" in said
    assert figure.read_bytes().startswith(b"\x89PNG") and len(pd.read_csv(table)) == 4
    assert main(["neural", str(netcdf)]) == 0  # what was written is read as what it was
    assert "5 of each stimulus" in capsys.readouterr().out
    assert main(arguments) == 2  # a table in the way
    assert "is there; choose another name, or --force replaces it" in capsys.readouterr().err
    assert main([*arguments, "--force"]) == 0


def test_what_is_unclear_is_listed(data, capsys):
    assert main(["neural", f"{data[0]}?kind=responses", "--ids", data[1]]) == 2
    out, err = capsys.readouterr()
    assert "trials" in out and "4 x 9 x 5" in out and f"?variable=trials&{AXES}" in out
    assert len(err.strip().splitlines()) == 1 and err.startswith("netphys: ")


def test_as_json(data, capsys):
    assert main(["neural", f"{data[0]}?variable=trials&{AXES}", "--ids", data[1], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["understood"] and told["facts"]["presentations"] == "45, 5 of each stimulus" and told["not_said"]


def test_rdms_are_no_assembly_to_write(tmp_path, capsys):
    np.save(tmp_path / "rdm.npy", 1.0 - np.eye(3))
    (tmp_path / "list.csv").write_text("file\na\nb\nc\n")
    arguments = ["neural", str(tmp_path / "rdm.npy"), "--ids", f"{tmp_path / 'list.csv'}:file"]
    assert main([*arguments, "--to-netcdf", str(tmp_path / "x.nc")]) == 2
    assert "--to-netcdf writes assemblies" in capsys.readouterr().err and not (tmp_path / "x.nc").exists()


def test_a_simulated_cortex(capsys):
    assert (
        main(["neural", "world:cortex?region=V1&subjects=2&neuroids=5", "--stimuli", "world:scenes?n=12&size=32"]) == 0
    )
    assert "V1 (10)" in capsys.readouterr().out
    assert main(["neural", "world:cortex?region=V1"]) == 2
    assert "give them" in capsys.readouterr().err


@pytest.mark.parametrize("spoilt", ["absent", "damaged", "empty"])
def test_errors_are_json_where_json_is_asked(spoilt, tmp_path, capsys):
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 no zip")
    address = "" if spoilt == "empty" else str(tmp_path / f"{spoilt}.npz")
    assert main(["neural", address, "--json"]) == 2
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["address"] == address and told["problem"] and err == f"netphys: {told['problem']}\n"
