"""Recordings of one network become one: more layers of the same stimuli, more stimuli of the same layers, or both.

What differs between parts must be their layers or their stimuli and nothing else: the network, what is kept of a map,
dtype, batch size, seed, device, switches of torch and versions are compared, and what differs is named. Layers come in
order of execution, stimuli in the order in which the parts name them first. What two parts have in common must be
equal bit for bit. Parts are read in blocks of stimuli, so that memory does not grow with their number.

The digest of the whole is that of one recording of all its layers and stimuli where that can be told: the parts say
their plans, and their stimuli are the same in the same order. Parts of other stimuli are not known to be what one
recording would hold (a network that draws at random in eval mode draws by the place of a batch), so theirs is a digest
of its own, made of those of the parts; only who has run the network and knows it to repeat itself may say so.

While a part's values stream by they are compared with their SHA-256, so that no damage goes into a new file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from netphys.errors import OptionError, RecordingError
from netphys.files import ensure_folder, locked, require_free, sweep_file
from netphys.provenance import digest
from netphys.recording.file.bfloat16 import Stored, storage_dtype
from netphys.recording.file.entries import Entry
from netphys.recording.file.joining import joined_columns, joined_measures
from netphys.recording.file.reading import Recording, load_recording
from netphys.recording.file.schema import (
    escape,
    layer_data,
    opened,
    read_metadata,
    read_schema,
    verify_layer,
    verify_statements,
)
from netphys.recording.file.selections import read_blocks
from netphys.recording.file.store import Written, write_recording
from netphys.recording.file.tables import Columns, table_digest
from netphys.recording.file.texts import read_contents

__all__ = ["Missing", "merge_recordings", "missing_of"]

_OF_LAYERS_OR_STIMULI = ("layers", "metadata", "stimuli")  # of a plan: what may differ


@dataclass(frozen=True)
class Missing:
    """What a recording lacks of what is wanted.

    Attributes
    ----------
    layers : tuple of str
        Wanted, not there: to be recorded of all stimuli, those of the file and the wanted ones.
    stimulus_ids : tuple of str
        Wanted, not there: to be recorded of the layers that are there.
    """

    layers: tuple[str, ...]
    stimulus_ids: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.layers or self.stimulus_ids)


def missing_of(path: Path | str, layers: Sequence[str], stimulus_ids: Sequence[str]) -> Missing:
    """Say what a file lacks of some layers and stimuli; a recording holds every layer of every stimulus.

    Raises
    ------
    RecordingError
        If it is no recording, or not whole.
    """
    _, entries, ids = read_schema(Path(path))
    there, shown = {each.name for each in entries}, set(ids)
    return Missing(
        tuple(each for each in layers if each not in there),
        tuple(each for each in stimulus_ids if each not in shown),
    )


def merge_recordings(
    recordings: Sequence[Recording | Path | str],
    *,
    into: Path | str,
    force: bool = False,
    compression: str | None = None,
    repeatable: bool = False,
    is_held: bool = False,
) -> Recording:
    """Merge recordings of one network into one file.

    Parameters
    ----------
    recordings : sequence of Recording or Path
        Files of recordings. Together they hold every layer of every stimulus.
    into : Path
        The file that is written, by rename; it may be one of the parts, with `force`.
    force : bool
        Replace what is there.
    compression : {"gzip", "lzf"}, optional
        How chunks are compressed.
    repeatable : bool
        Whether the network is known to draw nothing at random, so that merged stimuli are one recording's.
    is_held : bool
        Whether the caller has the lock of `into`.

    Returns
    -------
    Recording

    Raises
    ------
    RecordingError
        If parts are damaged, of another network or made otherwise, contradict each other, or leave gaps.
    OutputError
        If `into` cannot be written.
    """
    path = Path(into)
    if path.suffix not in (".h5", ".hdf5"):
        raise OptionError(f"a recording is an HDF5 file: {path.with_suffix('.h5')}, not {path}")
    parts = [_opened(each) for each in recordings]
    if not parts:
        raise OptionError("no recordings to merge")
    for part in parts[1:]:
        _require_alike(parts[0], part)
    ensure_folder(path.parent)
    waiting = f"waiting for another process that is writing {path}"
    with nullcontext() if is_held else locked(path.with_name(f".{path.name}.lock"), waiting=waiting):
        sweep_file(path)
        if path.exists() and not force:
            raise RecordingError(f"{path} is there already; --force replaces it")
        ids, entries = _all_ids(parts), _all_entries(parts)
        columns, rows = joined_columns(parts, ids), {each: row for row, each in enumerate(ids)}
        for entry in entries:
            _require_whole(entry, parts, ids)
        header = _header(parts, entries, ids, columns, repeatable)
        itemsize = storage_dtype(header["dtype"]).itemsize
        needed = len(ids) * sum(int(np.prod(each.shape)) for each in entries) * itemsize
        require_free(path.parent, needed, what=f"the recording {path.name}")
        written = [Written(each, partial(_rows, each, parts, rows, header["dtype"])) for each in entries]
        write_recording(path, written, columns, header, compression=compression)
    return load_recording(path)


@dataclass(frozen=True)
class _Part:
    """A recording that is merged."""

    path: Path
    header: Mapping[str, Any]
    entries: Mapping[str, Entry]
    ids: tuple[str, ...]
    columns: Columns
    contents: tuple[Any, ...]  # what each stimulus is, where the file says it
    sums: Mapping[str, str]  # SHA-256 of each layer's values

    @property
    def is_one(self) -> bool:
        """Whether it is known to hold what one recording does."""
        return bool(self.header["digest"] == digest(self.header.get("plan")))

    def made(self) -> dict[str, Any]:
        """Say all that its numbers depend on but layers and stimuli: its plan, else what its provenance has of it."""
        said, plan = self.header["provenance"], self.header.get("plan")
        made = {"name of the network": self.header["network"], "training": self.header["training"]}
        if isinstance(plan, dict):
            return made | {key: each for key, each in plan.items() if key not in _OF_LAYERS_OR_STIMULI}
        options, inputs = said.get("options", {}), said.get("inputs", {})
        versions = {key: each for key, each in said.get("versions", {}).items() if key.startswith("torch")}
        made |= {key: self.header[key] for key in ("keep", "dtype")} | {"network": inputs.get("network")}
        made |= {key: said.get(key) for key in ("seed", "device", "compute", "numerics")}
        return made | {"batch_size": options.get("batch_size"), "versions": versions}


def _opened(given: Recording | Path | str) -> _Part:
    """Open a part and see that it is undamaged as far as reading its chunks will not tell."""
    if isinstance(given, Recording) and (given.path is None or given._rows is not None or given._units):
        raise RecordingError(f"{given!r}: whole recordings in files are merged, neither selections nor memory")
    path = Path(str(given.path if isinstance(given, Recording) else given))
    header, entries, ids = read_schema(path)
    with opened(path) as file:
        contents = read_contents(path, file, len(ids))
        sums = {each.name: str(file["layers"][escape(each.name)].attrs.get("sha256", "")) for each in entries}
    verify_statements(path)
    if isinstance(given, Recording) and given.layers != tuple(each.name for each in entries):
        entries = tuple(each for each in entries if each.name in given.layers)
    named = {each.name: each for each in entries}
    return _Part(path, header, named, ids, read_metadata(path, ids), contents, sums)


def _require_alike(one: _Part, other: _Part) -> None:
    """See that two parts were made in the same way.

    Raises
    ------
    RecordingError
        Naming what differs.
    """
    ours, theirs = one.made(), other.made()
    if isinstance(one.header.get("plan"), dict) != isinstance(other.header.get("plan"), dict):
        ours, theirs = (replace(each, header={**each.header, "plan": None}).made() for each in (one, other))
    differing = [key for key in dict.fromkeys([*ours, *theirs]) if ours.get(key) != theirs.get(key)]
    if differing:
        values = [str(each.get(differing[0]))[:40] for each in (ours, theirs)]
        raise RecordingError(
            f"{other.path} cannot be merged with {one.path}: they differ in {', '.join(differing)} "
            f"({values[1]} and {values[0]})"
        )
    shown = {_shown(one), _shown(other)} - {None}
    if one.ids == other.ids and len(shown) > 1:
        raise RecordingError(f"{other.path} and {one.path} name the same stimuli, but other things were shown")


def _all_ids(parts: Sequence[_Part]) -> tuple[str, ...]:
    """Gather the stimuli of all parts, and see that those of one name are the same thing.

    Raises
    ------
    RecordingError
        If a stimulus is something else in another part.
    """
    known: dict[str, tuple[Any, Path]] = {}
    for part in parts:
        for name, content in zip(part.ids, part.contents):
            first, where = known.setdefault(name, (content, part.path))
            if first != content:
                raise RecordingError(f"stimulus {name!r} of {part.path} is another than that of {where}")
    return tuple(dict.fromkeys(each for part in parts for each in part.ids))


def _all_entries(parts: Sequence[_Part]) -> list[Entry]:
    """Gather the layers of all parts, in order of execution.

    Raises
    ------
    RecordingError
        If a layer is described in two ways.
    """
    found: dict[str, tuple[Entry, Path]] = {}
    for part in parts:
        for name, entry in part.entries.items():
            first, where = found.setdefault(name, (entry, part.path))
            if replace(first, measured={}) != replace(entry, measured={}):
                raise RecordingError(f"layer {name!r} is described otherwise in {part.path} than in {where}")
    joined = [
        replace(
            entry, measured=joined_measures([part.entries[name].measured for part in parts if name in part.entries])
        )
        for name, (entry, _) in found.items()
    ]
    return sorted(joined, key=lambda each: each.index)


def _require_whole(entry: Entry, parts: Sequence[_Part], ids: Sequence[str]) -> None:
    """See that some part has the layer's activations to every stimulus."""
    there = {each for part in parts if entry.name in part.entries for each in part.ids}
    gaps = [each for each in ids if each not in there]
    if gaps:
        raise RecordingError(
            f"layer {entry.name!r} was not recorded to {len(gaps)} of {len(ids)} stimuli, first {gaps[0]!r}; "
            "merged recordings hold every layer of every stimulus"
        )


# What the whole says of itself


def _header(
    parts: Sequence[_Part], entries: Sequence[Entry], ids: tuple[str, ...], columns: Columns, repeatable: bool
) -> dict[str, Any]:
    """Say what the merged recording is: as one recording of all would, where that can be told."""
    first = parts[0]
    contents = _all_contents(parts, ids)
    layers = [[each.name, *each.shape] for each in entries]
    header = {key: first.header[key] for key in ("network", "training", "keep", "dtype")}
    listed = [
        {"file": part.path.name, "digest": part.header["digest"], "layers": len(part.entries), "stimuli": len(part.ids)}
        for part in parts
    ]
    stimuli = _stimuli(parts, ids, contents)
    said = dict(first.header["provenance"])
    said |= {"options": {**said.get("options", {}), "layers": layers}, "n_stimuli": len(ids), "merged_from": listed}
    said["inputs"] = {**said.get("inputs", {}), "stimuli": stimuli}
    header |= {"contents": contents, "provenance": said}
    if stimuli is not None and all(isinstance(part.header.get("plan"), dict) for part in parts):
        plan = {**first.header["plan"], "layers": layers, "stimuli": stimuli, "metadata": table_digest(columns)}
        is_one = repeatable or all(part.ids == ids and part.is_one for part in parts)
        own = {"merged": sorted({part.header["digest"] for part in parts}), "plan": plan}
        return header | {"digest": digest(plan if is_one else own), "plan": plan}
    own = {"merged": sorted({part.header["digest"] for part in parts}), "layers": layers, "stimuli": list(ids)}
    return header | {"digest": digest(own)}


def _shown(part: _Part) -> str | None:
    """Digest of what was shown; None where it is not known."""
    found = part.header["provenance"].get("inputs", {}).get("stimuli")
    return found if isinstance(found, str) else None


def _all_contents(parts: Sequence[_Part], ids: tuple[str, ...]) -> tuple[Any, ...]:
    """Gather what each stimulus is; () where a part does not say it."""
    known = {name: content for part in parts for name, content in zip(part.ids, part.contents)}
    return tuple(known[each] for each in ids) if all(each in known for each in ids) else ()


def _stimuli(parts: Sequence[_Part], ids: tuple[str, ...], contents: tuple[Any, ...]) -> str | None:
    """Digest what was shown as a set of stimuli does; None where that cannot be told."""
    if contents:
        return digest(list(zip(ids, contents)))
    shown = {_shown(part) for part in parts}
    return shown.pop() if len(shown) == 1 and all(part.ids == ids for part in parts) else None


# Activations


def _rows(
    entry: Entry, parts: Sequence[_Part], rows: Mapping[str, int], dtype: str, step: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Go through a layer of the whole in blocks of stimuli, gathered from the parts that have them."""
    having = [part for part in parts if entry.name in part.entries]
    places = [np.array([rows[each] for each in part.ids], dtype=np.int64) for part in having]
    sums = [_begun(part, entry.name, of_part) for part, of_part in zip(having, places)]
    for first in range(0, len(rows), step):
        n_rows = min(step, len(rows) - first)
        block = np.empty((n_rows, *entry.shape), storage_dtype(dtype))
        source: dict[int, _Part] = {}
        for part, of_part, sha in zip(having, places, sums):
            own = np.flatnonzero((of_part >= first) & (of_part < first + n_rows))
            if len(own):
                values = _read(part, entry.name, own)
                if sha is not None:
                    sha.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
                _fill(block, of_part[own] - first, values, entry.name, part, source)
        yield first, block
    for part, sha in zip(having, sums):
        if sha is not None and sha.hexdigest() != part.sums[entry.name]:
            raise RecordingError(f"{part.path}: layer {entry.name!r} is not what was written (checksum)")


def _begun(part: _Part, layer: str, places: np.ndarray) -> Any:
    """Begin the checksum of a part's values; None where they do not stream by in its order, and are compared now."""
    if (np.diff(places) > 0).all():
        return hashlib.sha256()
    with opened(part.path) as file:
        verify_layer(part.path, file, layer)
    return None


def _fill(
    block: np.ndarray, at: np.ndarray, values: np.ndarray, layer: str, part: _Part, source: dict[int, _Part]
) -> None:
    """Put a part's stimuli into a block; what is there already must be the same bits."""
    for place, value in zip(at.tolist(), values):
        if place not in source:
            block[place], source[place] = value, part
        elif block[place].tobytes() != value.tobytes():
            raise RecordingError(
                f"{part.path} and {source[place].path} contradict each other: layer {layer!r} has other activations "
                "to the same stimulus"
            )


def _read(part: _Part, layer: str, own: np.ndarray) -> np.ndarray:
    """Read some stimuli of a layer as they are stored."""
    with layer_data(part.path, layer, digest=part.header["digest"]) as data:
        return next(iter(read_blocks(Stored(data), own, None, 1 << 62)))
