"""netphys train: a folder that is a network, a line that says what came out, one line for every mistake."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from netphys.cli.main import main

BASE = ["--network", "netphys:small_alexnet?width=2", "--stimuli", "world:scenes?n=60&size=32"]
SMALL = [*BASE, "--steps", "4", "--batch-size", "16", "--held-out", "16"]


def test_a_network_is_trained_shown_and_taken_as_it_is(capsys, tmp_path) -> None:
    out = tmp_path / "out"
    command = ["train", "simclr", *SMALL, "--out", str(out), "--set", "temperature=0.5", "--set", "flip=false"]
    assert main(command) == 0
    told = capsys.readouterr()
    assert told.out == f"{out}\n"
    assert "simclr: loss" in told.err and "chance 3.434" in told.err and "views a second" in told.err
    for name in ("weights.safetensors", "network.toml", "curve.csv", "curve.pdf", "curve.png", "training.json"):
        assert (out / name).stat().st_size > 0
    assert main(command) == 0
    assert "was there already, nothing was trained" in capsys.readouterr().err
    recording = tmp_path / "rec.h5"
    record = ["record", str(out), "world:scenes?n=4&size=32", "--layers", "conv1", "--out", str(recording), "--quiet"]
    assert main(record) == 0 and recording.is_file()


@pytest.mark.parametrize(
    ("objective", "more", "text"),
    [
        ("simcler", [], "near: 'simclr'"),
        ("supervised", ["--labels", "catgory"], "near: 'category'"),
        ("simclr", ["--set", "temperature"], "say KEY=VALUE"),
        ("simclr", ["--set", "temprature=1"], "near: 'temperature'"),
        ("simclr", ["--precision", "half"], "precision='half' is not known"),
        ("simclr", ["--held-out", "1.0"], "held_out=1.0: a share"),
        ("simclr", ["--save-every", "often"], "neither a number of steps"),
    ],
)
def test_a_mistake_is_one_line(capsys, tmp_path, objective, more, text) -> None:
    assert main(["train", objective, *SMALL, "--out", str(tmp_path / "out"), *more]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("netphys: ") and text in lines[0]


@pytest.mark.slow
def test_an_interrupted_training_says_so_and_goes_on(tmp_path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "netphys", "train", "simclr", *BASE, "--steps", "300", "--batch-size", "16"]
    command += ["--held-out", "16", "--save-every", "5", "--out", str(out)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not (out / "checkpoint.safetensors").is_file() and time.monotonic() < until:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.strip().splitlines()[-1] == "netphys: interrupted; the same command goes on where it stopped"
    assert (out / "checkpoint.safetensors").is_file()
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    assert (out / "training.json").is_file() and not (out / "checkpoint.safetensors").exists()


def test_info_knows_a_trained_network_its_toml_and_its_top_patches(tmp_path, capsys):
    out, units = tmp_path / "net", tmp_path / "units"
    train = ["train", "simclr", "--network", "netphys:small_alexnet?width=4", "--stimuli", "world:scenes?n=40&size=32"]
    assert main([*train, "--steps", "2", "--batch-size", "16", "--out", str(out), "--device", "cpu", "--quiet"]) == 0
    seen = ["units", str(out), "world:scenes?n=12&size=32", "--layers", "relu1", "--k", "3", "--out", str(units)]
    assert main([*seen, "--device", "cpu", "--quiet"]) == 0
    (top,) = units.glob("units/*/top.h5")
    capsys.readouterr()
    for path, words in [
        (out, ["a network trained by simclr", "netphys:small_alexnet?width=4", "held-out loss", "temperature"]),
        (out / "network.toml", ["a network trained by simclr"]),
        (top, ["top patches of netphys, 3 a unit", "relu1: 4 units"]),
        (units, ["units by netphys units"]),
    ]:
        assert main(["info", str(path)]) == 0
        told = capsys.readouterr().out
        for word in words:
            assert word in told, (path, word)
