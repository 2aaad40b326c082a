"""``netphys info``: what a file is, what made it, what is in it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from netphys.cli.options import command
from netphys.errors import NetphysError

_ABOUT = """what a file is, what made it, what is in it

Recordings, top patches, neural data (.mat .npz .npy .csv .h5 .nc), weights (.safetensors), study files, folders of
images, of trained networks and of studies."""
_EXAMPLE = "  netphys info netphys-out/recordings/gabor-energy.h5"


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "info", _run, about=_ABOUT, example=_EXAMPLE)
    parser.add_argument("file", metavar="FILE", help="any file or folder")
    parser.add_argument("--json", action="store_true", help="as JSON")


def _run(options: argparse.Namespace) -> None:
    facts = describe(Path(options.file))
    if options.json:
        sys.stdout.write(json.dumps(facts, indent=1, default=str) + "\n")
        return
    for key, value in facts.items():
        sys.stdout.write(_lines(key, value))


def describe(path: Path) -> dict[str, Any]:
    """Say what a file or folder is.

    Raises
    ------
    NetphysError
        If it is not there, or nothing that netphys knows.
    """
    if not path.exists():
        raise NetphysError(f"there is no {path}")
    if path.is_dir():
        return _folder(path)
    if path.suffix == ".safetensors":
        return _weights(path)
    if path.suffix == ".toml":
        return _study(path)
    if path.suffix in (".h5", ".hdf5"):
        ours = _recording(path) or _top_patches(path) or _kept_stimuli(path)
        if ours:
            return ours
    if path.suffix == ".zip":
        return _stimuli(path)
    from netphys.neural import describe_file

    if path.suffix == ".csv" and (listed := _table(path)):
        return listed
    found = describe_file(path)
    if found is None:
        raise NetphysError(f"{path} is nothing that netphys knows: a recording, neural data, weights or a study")
    return found


def _recording(path: Path) -> dict[str, Any] | None:
    """Describe a recording; None if the HDF5 file is something else."""
    import h5py

    from netphys.recording import load_recording
    from netphys.recording.file.schema import FORMAT
    from netphys.recording.file.texts import one_attribute

    try:
        with h5py.File(path, "r") as file:
            if one_attribute(file, "format") != FORMAT:
                return None
    except OSError:
        return None
    recording = load_recording(path)
    made = recording.header["provenance"]
    return {
        "what": "a recording of netphys",
        "network": f"{recording.name} ({recording.training})",
        "address": made.get("network_address"),
        "stimuli": f"{len(recording)} of {made.get('stimuli')}",
        "from": made.get("stimuli_address"),
        "treated": "" if made.get("treatment") in (None, "none") else made["treatment"],
        "files converted": made.get("conversions"),
        "layers": {layer: _layer(recording, layer) for layer in recording.layers},
        "measured": {layer: dict(recording.measured(layer)) for layer in recording.layers if recording.measured(layer)},
        "kept": f"{recording.header['keep']}, {recording.header['dtype']}",
        "compression": recording.header.get("compression"),
        "merged from": [
            f"{each['file']} ({each['layers']} layer(s) x {each['stimuli']} stimuli)"
            for each in made.get("merged_from", [])
        ],
        "size": f"{path.stat().st_size / 1e6:.1f} MB",
        "digest": recording.header["digest"],
        "made by": f"{made.get('made_by')}, {made.get('device')}, seed {made.get('seed')}, {made.get('batch_plan')}",
        "versions": made.get("versions"),
        "damage": _damage(path),
    }


def _layer(recording: Any, layer: str) -> str:
    """Say the axes of a layer, and what its tokens are."""
    entry = recording.entry(layer)
    said = " x ".join(f"{size} {dim}" for dim, size in zip(recording.dims(layer)[1:], recording.shape(layer)[1:]))
    kinds = {kind: entry.tokens.count(kind) for kind in dict.fromkeys(entry.tokens)}
    tokens = f" ({', '.join(f'{n} {kind}' for kind, n in kinds.items())})" if kinds else ""
    grid = f", patches in a grid of {entry.grid[0]} x {entry.grid[1]}" if entry.grid and "x" not in entry.dims else ""
    return said + tokens + grid


def _damage(path: Path) -> str:
    """Say whether what the file says of itself is what was written; activations are not read."""
    from netphys.recording.file.schema import verify_statements

    try:
        verify_statements(path)
    except NetphysError as error:
        return str(error)
    return "none in what the file says of itself; 'netphys verify' reads its activations, too"


def _top_patches(path: Path) -> dict[str, Any] | None:
    """Describe a file of top patches; None if it is something else."""
    import h5py

    from netphys.units import load_top_patches

    try:
        with h5py.File(path, "r") as file:
            header = file.get("header")
            if not isinstance(header, h5py.Dataset) or header.shape != () or b"top patches" not in bytes(header[()]):
                return None
    except OSError:
        return None
    found = load_top_patches(path)
    return {
        "what": f"top patches of netphys, {found.k} a unit",
        "finding": str(found),
        "stimuli": len(found.stimulus_ids),
        "layers": {
            name: f"{each.n_units} units, {each.n_dead} of them driven by nothing"
            for name, each in found.layers.items()
        },
    }


def _network(path: Path) -> dict[str, Any]:
    """Describe a network that netphys has trained."""
    from netphys.networks.folder import read_network_toml

    said = read_network_toml(path)
    facts = {
        "what": f"a network trained by {said['training']}; the folder is its address",
        "architecture": said["architecture"],
        "preprocessing": said["preprocess"],
        "weights": f"SHA-256 {said['weights_sha256']}",
    }
    if (path / "training.json").is_file():
        from netphys.training import load_training

        result = load_training(path)
        facts["finding"] = str(result)
        facts["losses"] = {"held out": round(result.held_out, 4), **dict(result.references)}
        facts["options"] = dict(result.plan["options"])
    return facts


def _begun(path: Path) -> dict[str, Any]:
    """Describe a training that is not finished."""
    from netphys.training.checkpoints import read_checkpoint

    checkpoint = read_checkpoint(path / "checkpoint.safetensors")
    plan = checkpoint.plan
    return {
        "what": f"a training by {plan['objective']} that is not finished; the same command goes on with it",
        "steps": f"{checkpoint.said['done']} of {plan['n_steps']} done",
        "options": dict(plan["options"]),
    }


def _scores(path: Path) -> dict[str, Any]:
    """Describe a tidy frame."""
    from netphys.scores import read_tidy

    frame = read_tidy(path)
    return {
        "scores": f"{len(frame)} of {frame['network'].nunique()} networks",
        "neural data": sorted(set(frame["dataset"])),
        "measure": sorted(set(frame["measure"])),
    }


def _table(path: Path) -> dict[str, Any] | None:
    """Describe a tidy frame, or a CSV of stimuli as ``--ids`` takes it; None if it is something else."""
    from netphys.neural.files.ids import read_rows
    from netphys.scores import COLUMNS

    header, *rows = read_rows(path)
    if tuple(header) == COLUMNS:
        return {"what": "the tidy frame of a comparison", **_scores(path)}
    if not {"stimulus_id", "file"} & set(header):
        return None
    return {"what": f"a list of {len(rows)} stimuli", "columns": header}


def _weights(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            names = list(file.keys())
            shapes = {name: " x ".join(map(str, file.get_slice(name).get_shape())) for name in names}
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise NetphysError(f"{path} is damaged or not a safetensors file ({error})") from None
    return {"what": f"weights, {len(names)} tensors", "made by": metadata or "it does not say", "tensors": shapes}


def _study(path: Path) -> dict[str, Any]:
    if path.name == "network.toml":
        return _network(path.parent)
    from netphys.studies import read_study

    study = read_study(path)
    return {
        "what": "a study",
        "title": study.title,
        "stimuli": study.stimuli.address,
        "networks": {entry.name: entry.address for entry in study.networks},
        "neural data": {entry.name: entry.address for entry in study.neural},
    }


def _folder(path: Path) -> dict[str, Any]:
    if (path / ".netphys" / "steps").is_dir():
        steps = sorted(json.loads(each.read_text())["name"] for each in (path / ".netphys" / "steps").glob("*.json"))
        return {"what": "a study that was run", "page": str(path / "index.html"), "steps": steps}
    if (path / "rsa.json").is_file():
        return {"what": "a comparison by netphys rsa", "page": str(path / "index.html"), **_scores(path / "rsa.csv")}
    if (path / "probe.json").is_file():
        return {"what": "probes by netphys probe", "page": str(path / "index.html"), **_scores(path / "probe.csv")}
    if (path / "network.toml").is_file():
        return _network(path)
    if (path / "checkpoint.safetensors").is_file():
        return _begun(path)
    if any(path.glob("units/*/top.h5")):
        return {"what": "units by netphys units", "pages": [str(each) for each in path.glob("units/*/index.html")]}
    return _stimuli(path)


def _kept_stimuli(path: Path) -> dict[str, Any] | None:
    """Describe stimuli that netphys wrote; None if the HDF5 file is something else."""
    import h5py

    from netphys.hdf5_columns import fixed_text
    from netphys.stimuli.readers.hdf5_kept import FORMAT

    try:
        with h5py.File(path, "r") as file:
            if fixed_text(file, "format") != FORMAT:
                return None
    except OSError:
        return None
    return _stimuli(path)


def _stimuli(path: Path) -> dict[str, Any]:
    """Describe stimuli in a folder, a zip or a file."""
    from netphys.stimuli import load_stimuli

    stimuli = load_stimuli(path)
    kinds = "images" if stimuli.fields == ("image",) else f"with {', '.join(stimuli.fields)}"
    return {
        "what": f"stimuli, {len(stimuli)} {kinds}",
        "treated": stimuli.treatment,
        "files converted": stimuli.conversions,
        "columns": list(stimuli.metadata.columns),
        "digest": stimuli.digest,
    }


def _lines(key: str, value: Any) -> str:
    """Write one fact; tables and lists on lines of their own, nothing where there is nothing."""
    if value in (None, "", [], (), {}):
        return ""
    if isinstance(value, dict):
        return f"{key}:\n" + "".join(f"  {name}: {each}\n" for name, each in value.items())
    if isinstance(value, list) and len(value) > 6:
        return f"{key}:\n" + "".join(f"  {each}\n" for each in value)
    return f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}\n"
