"""``netphys verify``: whether files are what was written, by their checksums."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from netphys.cli.options import command
from netphys.errors import NetphysError

_ABOUT = """whether files are still what was written: every byte is compared with the checksums of its making

Recordings, stimuli written by netphys stimuli --to-hdf5, folders of trained networks and trainings. Damage is one line
that names the layer and the stimuli of it, and exit code 2."""
_EXAMPLE = "  netphys verify netphys-out/recordings/*.h5"


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "verify", _run, about=_ABOUT, example=_EXAMPLE)
    parser.add_argument("files", nargs="+", metavar="FILE", help="recordings, stimuli (.h5), folders of networks")


def _run(options: argparse.Namespace) -> int:
    n_damaged = 0
    for file in options.files:
        try:
            said = check(Path(file))
        except NetphysError as error:
            sys.stderr.write(f"netphys: {' '.join(str(error).split())}\n")
            n_damaged += 1
        else:
            sys.stdout.write(f"whole: {file} ({said})\n")
    return 2 if n_damaged else 0


def check(path: Path) -> str:
    """Compare a file or folder with its checksums; returns what it is.

    Raises
    ------
    NetphysError
        If it is damaged, or nothing that has checksums.
    """
    if not path.exists():
        raise NetphysError(f"there is no {path}")
    if path.is_dir():
        return _network(path)
    if path.suffix in (".h5", ".hdf5"):
        return _stimuli(path) if _format(path).startswith("netphys-stimuli") else _recording(path)
    if path.suffix == ".safetensors" and (path.parent / "network.toml").is_file():
        return _network(path.parent)
    raise NetphysError(f"{path} has no checksums that netphys knows: it is no recording, no stimuli and no network")


def _format(path: Path) -> str:
    """Read what an HDF5 file says that it is; nothing where it cannot be read."""
    import h5py

    from netphys.hdf5_columns import fixed_text

    try:
        with h5py.File(path, "r") as file:
            return fixed_text(file, "format") or ""
    except OSError:
        return ""


def _recording(path: Path) -> str:
    from netphys.recording import load_recording, verify

    verify(path)
    recording = load_recording(path)
    n = len(recording.layers)
    return f"recording, {n} layer{'s' * (n != 1)} x {len(recording)} stimuli"


def _stimuli(path: Path) -> str:
    """Read every field of every stimulus, which compares it with its checksum."""
    from netphys.stimuli import load_stimuli

    stimuli = load_stimuli(path)
    for field in stimuli.fields:
        for _ in stimuli.batches(field=field):
            pass
    return f"{len(stimuli)} stimuli"


def _network(folder: Path) -> str:
    from netphys.networks.folder import is_network_folder

    if not is_network_folder(folder):
        raise NetphysError(f"{folder} is no network that netphys trained; name files")
    if (folder / "training.json").is_file():
        from netphys.training import load_training

        return str(load_training(folder)).splitlines()[0]
    from netphys.networks import load_network

    return f"network, {load_network(str(folder)).training}"
