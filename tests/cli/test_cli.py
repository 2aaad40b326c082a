"""The commands: fast to answer, one clear line and exit code 2 for every mistake."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netphys.cli.main import main, make_parser

COMMANDS = (
    "run", "train", "stimuli", "data", "neural", "layers", "record", "merge", "units", "probe", "rsa", "info",
    "verify", "doctor",
)  # fmt: skip


@pytest.fixture
def images(tmp_path):
    """Twelve small images in two folders."""
    folder = tmp_path / "images"
    rng = np.random.default_rng(0)
    for index in range(12):
        path = folder / ("face" if index < 6 else "house") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    return folder


def refused(capsys, *arguments):
    """Run a mistaken command; return its one line."""
    code = main([str(each) for each in arguments])
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith("netphys: ")
    assert "Traceback" not in lines[0]
    return lines[0]


def test_help_of_every_command_has_an_example_and_the_shared_options(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit) as left:
            make_parser().parse_args([name, "--help"])
        assert left.value.code == 0
        text = capsys.readouterr().out
        assert f"netphys {name}" in text and "example:" in text
        for option in ("--device", "--seed", "--quiet"):
            assert option in text


def test_help_imports_nothing_heavy():
    program = (
        "import sys, netphys.cli.main as m\n"
        "try: m.main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'pandas', 'numpy', 'matplotlib', 'xarray', 'scipy', 'msgspec'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["layers", "torchvision:resnet81"], ["no model 'resnet81'", "'resnet18'"]),
        (["layers", "torchvsion:resnet18"], ["no network 'torchvsion:resnet18'", "near: 'torchvision'"]),
        (["layers", "netphys:gabor"], ["near: 'gabor_energy'"]),
        (["layers", "netphys:pixels?resise=3"], ["no option 'resise'", "near: 'resize'"]),
        (["layers", "netphys:pixels", "--device", "tpu"], ["no device 'tpu'", "'cpu'"]),
        (["layers", "netphys:pixels", "--stimuli", "nowhere"], ["no stimuli at 'nowhere'"]),
        (["record", "netphys:pixels", "nowhere", "--layers", "all", "--out", "x.h5"], ["no stimuli at 'nowhere'"]),
        (["record", "netphys:pixels", "world:scene", "--layers", "all", "--out", "x.h5"], ["near: 'scenes'"]),
        (["record", "netphys:pixels", "world:scenes?n=2&size=32", "--layers", "all", "--out", "x.txt"], ["x.h5"]),
        (
            [
                "record",
                "netphys:pixels",
                "world:scenes?n=2&size=32",
                "--layers",
                "all",
                "--out",
                "x.h5",
                "--keep",
                "men",
            ],
            ["keep='men'", "'mean'"],
        ),
        (
            ["record", "netphys:gabor_energy", "world:scenes?n=2&size=32", "--layers", "enrgy", "--out", "x.h5"],
            ["no layer 'enrgy'", "near: 'energy'"],
        ),
        (["info", "nowhere"], ["there is no nowhere"]),
        (["run", "nowhere.toml"], ["no study file nowhere.toml"]),
        (["run", "--set", "rsa.n_bootstrap=2"], ["no key 'n_bootstrap' in [rsa]", "near: 'n_bootstraps'"]),
        (["rsa", "nowhere.h5", "--neural", "nowhere.mat", "--out", "x"], ["nowhere"]),
    ],
)
def test_mistakes_are_one_line_and_exit_2(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, *arguments)
    for word in words:
        assert word in line
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_option_is_one_line_and_exit_2(capsys):
    with pytest.raises(SystemExit) as left:
        main(["layers", "netphys:pixels", "--sede", "1"])
    assert left.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_without_images(capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    line = refused(
        capsys, "record", "netphys:pixels", tmp_path / "empty", "--layers", "all", "--out", tmp_path / "rec.h5"
    )
    assert "holds no image" in line and ".png" in line


def test_a_truncated_jpeg_is_named_and_skipped_on_request(capsys, images, tmp_path):
    broken = images / "house" / "broken.jpg"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(broken)
    broken.write_bytes(broken.read_bytes()[:400])
    command = ["record", "netphys:pixels", str(images), "--layers", "all", "--out", str(tmp_path / "rec.h5")]
    line = refused(capsys, *command)
    assert "house/broken.jpg" in line and "--skip-broken" in line
    assert not (tmp_path / "rec.h5").exists()
    assert main([*command, "--skip-broken"]) == 0
    told = capsys.readouterr()
    assert "1 broken image(s) left out, 12 shown" in told.err
    assert told.out.strip() == str(tmp_path / "rec.h5")


def test_record_then_rsa_then_info(capsys, images, tmp_path):
    recording = tmp_path / "rec.h5"
    code = main(["record", "netphys:gabor_energy", str(images), "--layers", "*", "--out", str(recording), "--quiet"])
    assert code == 0
    rng = np.random.default_rng(0)
    square = rng.random((3, 12, 12))
    square = square + square.transpose(0, 2, 1)
    square[:, np.arange(12), np.arange(12)] = 0
    np.savez(tmp_path / "brain.npz", IT=square)
    listed = ["file,kind", *(f"{kind}/{i}.png,{kind}" for i, kind in enumerate(["face"] * 6 + ["house"] * 6))]
    (tmp_path / "ids.csv").write_text("\n".join(listed))
    neural, ids = f"{tmp_path}/brain.npz?variable=IT&region=IT", f"{tmp_path}/ids.csv:file"
    out = tmp_path / "out"
    command = ["rsa", str(recording), "--neural", neural, "--out", str(out), "--n-bootstraps", "20"]
    capsys.readouterr()
    assert "--ids FILE:COLUMN" in refused(capsys, *command)
    assert main([*command, "--ids", ids, "--groups", f"{tmp_path}/ids.csv:kind"]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(out / "index.html")
    for name in ["rsa.csv", "rsa.json", "index.html", "methods.md", "figures/agreement.pdf", "figures/rdms.png"]:
        assert (out / name).stat().st_size > 0
    page = (out / "index.html").read_text()
    assert 'href="../rec.h5"' in page and "2 layers: simple to energy" in page
    assert main(["info", str(recording), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["what"] == "a recording of netphys" and set(facts["layers"]) == {"simple", "energy"}
    assert main(["info", str(tmp_path / "brain.npz")]) == 0
    assert "IT" in capsys.readouterr().out
    assert main(["info", str(images)]) == 0
    assert "12 images" in capsys.readouterr().out


def test_neural_data_of_other_stimuli(capsys, images, tmp_path):
    recording = tmp_path / "rec.h5"
    assert main(["record", "netphys:pixels", str(images), "--layers", "all", "--out", str(recording), "--quiet"]) == 0
    np.save(tmp_path / "rdm.npy", 1 - np.eye(4))
    (tmp_path / "ids.csv").write_text("file\na.png\nb.png\nc.png\nd.png\n")
    capsys.readouterr()
    line = refused(
        capsys,
        *["rsa", recording, "--neural", f"{tmp_path}/rdm.npy", "--ids", f"{tmp_path}/ids.csv:file"],
        *["--out", tmp_path / "out"],
    )
    assert "4" in line and "stimulus_id" in line


def test_no_space_at_out_is_one_line(tmp_path):
    """A limit on the size of files stands in for a full disk; the line is the same."""
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "from netphys.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    command = ["record", "netphys:gabor_energy", "world:scenes?n=40&size=32", "--layers", "*"]
    done = subprocess.run(
        [sys.executable, "-c", program, *command, "--out", str(tmp_path / "rec.h5"), "--quiet"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and "cannot write" in done.stderr
    assert not (tmp_path / "rec.h5").exists()
    assert not list(tmp_path.rglob("*.netphys-tmp"))


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no folder here that refuses even root")
@pytest.mark.parametrize(
    "command",
    [
        ["run", "--out", "/sys/netphys-out"],
        ["record", "netphys:pixels", "world:scenes?n=2&size=32", "--layers", "all", "--out", "/sys/kernel/rec.h5"],
    ],
)
def test_no_permission_at_out_is_one_line(capsys, command):
    assert "no permission to write" in refused(capsys, *command)


def test_doctor_says_what_is_there(capsys):
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    for word in ("netphys", "torch ", "threads", "free disk"):
        assert word in told


def test_completion_is_printed(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--print-completion", "bash"])
    assert left.value.code == 0
    assert "netphys" in capsys.readouterr().out


def test_help_answers_within_the_time_that_the_readme_promises():
    """A limit with room for a loaded machine; the figure itself is in the benchmarks."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "netphys", "--help"], check=True, capture_output=True)
    assert time.monotonic() - started < 5
