"""What a recording's file must hold, checked once when it is opened: a stranger's file ends in one line.

Our own file is known by its checksums: one of each layer's values (SHA-256, compared by :func:`verify` and by a
merge), one of everything that is said about them (compared whenever a recording is opened), and one of each chunk
(Fletcher-32), by which HDF5 notices most damage when a chunk is read; it does not tell words of zeros from words of
ones. Files made before have no last ones.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from netphys.errors import FileError, MatchError, RecordingError
from netphys.guards import first_line, guarded_hdf5, translating
from netphys.matching import require_unique
from netphys.provenance import digest
from netphys.recording.file.bfloat16 import Stored
from netphys.recording.file.entries import Entry, coordinates, known_dims, read_facts
from netphys.recording.file.tables import Columns, read_columns, table_digest
from netphys.recording.file.texts import one_attribute, read_contents, read_texts

__all__ = [
    "FORMAT", "MORE", "STATEMENTS", "Entry", "damaged", "escape", "layer_data", "opened",
    "read_header", "read_metadata", "read_schema", "statement_digest", "unescape", "values_digest",
    "verify", "verify_layer", "verify_statements",
]  # fmt: skip

FORMAT = "netphys-recording-1"
STATEMENTS = ("format", "digest", "network", "training", "keep", "dtype", "layers", "provenance")  # texts at the root
MORE = ("compression", "contents_sha256", "plan")  # further ones, which files made before lack
_BUDGET = 1 << 50  # bytes that a recording may claim: it is read in pieces
_RATIO = 2 * 1032  # of a layer to its bytes on disk: gzip's most (a unit that never answers), and bfloat16 widened
_READ_BYTES = 16 << 20  # of a layer at a time, to check it


def read_header(path: Path) -> dict[str, Any]:
    """Read what a recording's file says of itself.

    Raises
    ------
    RecordingError
        If it is no recording, or not whole.
    """
    with opened(path) as file:
        return _header(path, file)


def read_schema(path: Path, *, checked: bool = False) -> tuple[dict[str, Any], tuple[Entry, ...], tuple[str, ...]]:
    """Read a recording's header, its layers and its stimuli, and see that they fit together.

    Parameters
    ----------
    path : Path
        The file.
    checked : bool
        Compare what it says of itself with its checksum, too, where it has one.

    Raises
    ------
    RecordingError
        If something is missing, or of another kind, or layers disagree about their stimuli.
    """
    with opened(path) as file:
        header, entries, ids = _schema(path, file)
        if checked and "sha256" in header:
            _compare(path, file, header, entries, ids)
    return header, entries, ids


def _schema(path: Path, file: Any) -> tuple[dict[str, Any], tuple[Entry, ...], tuple[str, ...]]:
    """Read an open file's header, layers and stimuli."""
    header = _header(path, file)
    entries, ids = [], None
    for place, layer in enumerate(header["layers"]):
        group = _group(path, file, layer)
        entries.append(_entry(path, group, layer, place))
        own = _ids(path, group, layer, ids)
        if ids is not None and own != ids:
            raise RecordingError(f"{path}: layers {header['layers'][0]!r} and {layer!r} have other stimulus_ids")
        ids = own
    return header, tuple(entries), ids or ()


def read_metadata(path: Path, stimulus_ids: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read the stimuli's metadata of a recording's file, by column; of one made before only ``stimulus_id``.

    Parameters
    ----------
    path : Path
        The file.
    stimulus_ids : tuple of str
        Of its layers, one a row.

    Raises
    ------
    RecordingError
        If a column is damaged, or describes other stimuli.
    """
    with opened(path) as file:
        columns = read_columns(path, file, len(stimulus_ids))
    if columns is not None and tuple(columns["stimulus_id"]) != stimulus_ids:
        raise RecordingError(f"{path}: its metadata describe other stimuli than its layers; record it again")
    return {"stimulus_id": np.array(stimulus_ids, dtype=object)} if columns is None else columns


def verify(path: Path | str) -> None:
    """Compare a recording with the checksums of its making: one reading of the file.

    Raises
    ------
    RecordingError
        If a byte of an activation, of an id, of the metadata or of what the file says was changed, naming the layer
        and the stimuli and units of the chunk; or if the file has no checksums.
    """
    path = Path(path)
    with opened(path) as file:
        header, entries, ids = _schema(path, file)
        for entry in entries:
            verify_layer(path, file, entry.name)
        _compare(path, file, header, entries, ids)


def verify_layer(path: Path, file: Any, layer: str) -> None:
    """Compare the values of one layer of an open file with their checksum.

    Raises
    ------
    RecordingError
        If one was changed, or there is no checksum.
    """
    group = _group(path, file, layer)
    expected = str(group.attrs.get("sha256", ""))
    if not expected:
        raise RecordingError(f"{path} has no checksums, so that damage cannot be told; record it again")
    try:
        found = values_digest(group["activation"])
    except OSError as error:
        raise damaged(path, layer, group["activation"], error) from None
    if found != expected:
        raise RecordingError(f"{path}: layer {layer!r} is not what was written (checksum)")


def verify_statements(path: Path) -> None:
    """Compare what a recording says of itself with its checksum, without reading activations.

    Raises
    ------
    RecordingError
        If a text, an id, a checksum of a layer or the metadata were changed.
    """
    with opened(path) as file:
        _compare(path, file, *_schema(path, file))


def _compare(
    path: Path, file: Any, header: Mapping[str, Any], entries: tuple[Entry, ...], ids: tuple[str, ...]
) -> None:
    """Compare what an open file says of itself with its checksum."""
    groups = {entry.name: _group(path, file, entry.name) for entry in entries}
    sums = {name: str(group.attrs.get("sha256", "")) for name, group in groups.items()}
    facts = {name: str(group.attrs["facts"]) for name, group in groups.items() if "facts" in group.attrs}
    statements = {key: file.attrs[key] for key in STATEMENTS}
    same = all(_agrees(path, groups[entry.name], entry, facts.get(entry.name)) for entry in entries)
    read_contents(path, file, len(ids))
    said = statement_digest(statements, sums, ids, read_columns(path, file, len(ids)), facts, _more(file))
    if not same or header.get("sha256") != said:
        raise RecordingError(f"{path}: what it says of itself is not what was written (checksum)")


def _agrees(path: Path, group: Any, entry: Entry, facts: str | None) -> bool:
    """Tell whether what is written beside the facts, for other readers, says the same."""
    if facts is None:
        return True
    said = json.loads(facts)
    alike = (said.get("kind", ""), said.get("index"), tuple(said.get("dims", ()))) == (
        entry.kind, entry.index, entry.dims
    )  # fmt: skip
    for name, (_, values) in coordinates(entry).items():
        data = group.get(name)
        written = None if data is None else read_texts(path, data) if name == "token_kind" else data[:]
        alike = alike and written is not None and np.array_equal(written, values)
    return alike


def _more(file: Any) -> dict[str, str]:
    """Read the texts that younger files have besides."""
    return {key: str(file.attrs[key]) for key in MORE if key in file.attrs}


def statement_digest(
    statements: Mapping[str, Any],
    sums: Mapping[str, str],
    ids: tuple[str, ...],
    columns: Columns | None = None,
    facts: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
) -> str:
    """Digest what a file says of itself: its texts, the checksums of its layers, its stimuli and their metadata."""
    said: dict[str, Any] = {"statements": {key: str(statements[key]) for key in STATEMENTS}}
    said |= {"layers": sums, "ids": list(ids)}
    said |= {} if columns is None else {"metadata": table_digest(columns)}
    said |= {"facts": facts} if facts else {}
    return digest(said | ({"more": more} if more else {}))


def damaged(path: Path, layer: str, data: Any, error: BaseException) -> RecordingError:
    """Make the one line that says which layer of a file cannot be read, and which of its chunks."""
    where = ""
    for first in _chunk_corners(data):
        part = tuple(slice(low, low + size) for low, size in zip(first, data.chunks))
        try:
            data[part]
        except OSError:
            spans = [f"{low} to {min(high, size) - 1}" for low, high, size in
                     ((each.start, each.stop, whole) for each, whole in zip(part, data.shape))]  # fmt: skip
            where = f" of stimuli {spans[0]}, units {spans[1]}"
            break
    reason = "checksum" if where and data.fletcher32 else first_line(error)
    return RecordingError(
        f"{path}: layer {layer!r} is not what was written ({reason}{where}); record it again, or copy the file again"
    )


def _chunk_corners(data: Any) -> Iterator[tuple[int, ...]]:
    """Go through the chunks of a dataset, by the stimuli."""
    steps = [range(0, size, chunk) for size, chunk in zip(data.shape, data.chunks or data.shape)] if data.chunks else []
    return itertools.product(*steps) if steps else iter(())


def escape(layer: str) -> str:
    """Make a layer's name one HDF5 name.

    Examples
    --------
    >>> escape("encoder/0"), unescape("encoder%2F0")
    ('encoder%2F0', 'encoder/0')
    """
    return quote(layer, safe="#:[]() ").replace(".", "%2E") if layer in (".", "..") else quote(layer, safe=".#:[]() ")


def unescape(name: str) -> str:
    """Turn an HDF5 name back into a layer's name."""
    return unquote(name)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a recording's file; whatever is wrong with it is a RecordingError."""
    if not os.path.isfile(path):  # noqa: PTH113 - False where a name is too long
        partial = path.with_name(path.name + ".partial")
        begun = os.path.isdir(partial)  # noqa: PTH112
        hint = f"; {partial.name} is one that is not finished: give the same command again" if begun else ""
        raise RecordingError(f"no recording at {path}{hint}")
    try:
        with guarded_hdf5(path, budget=_BUDGET, ratio=_RATIO) as file:
            yield file
    except RecordingError:
        raise
    except FileError as error:
        if error.__cause__ is None:  # it points elsewhere, or claims too much
            raise RecordingError(str(error)) from None
        raise RecordingError(f"{path} is damaged or not HDF5 ({first_line(error.__cause__)})") from None


@contextmanager
def layer_data(path: Path, layer: str, *, digest: str | None) -> Iterator[Any]:
    """Open the activations of a layer to read them, in a file that was looked at before.

    Parameters
    ----------
    path : Path
        The file.
    layer : str
        Its name.
    digest : str, optional
        Of the recording that the file held when it was looked at.

    Yields
    ------
    h5py.Dataset

    Raises
    ------
    RecordingError
        If the file is gone, another one, or damaged; a chunk is named by its stimuli and units.
    """
    import h5py

    if not path.is_file():
        raise RecordingError(f"{path} is not there any more")
    try:
        # no cache: each chunk is read once, straight to where it is wanted
        with translating(path, "a recording"), h5py.File(path, "r", rdcc_nbytes=0) as file:
            if file.attrs.get("digest") != digest:
                raise RecordingError(f"{path} is another recording than the one that was opened; open it again")
            data = file["layers"][escape(layer)]["activation"]
            try:
                yield data
            except OSError as error:
                raise damaged(path, layer, data, error) from None
    except RecordingError:
        raise
    except FileError as error:
        raise RecordingError(f"layer {layer!r} is lost: {error}") from None


def _header(path: Path, file: Any) -> dict[str, Any]:
    """Read the attributes of the root."""
    header = {key: one_attribute(file, key) for key in (*STATEMENTS, *MORE, "sha256", "complete") if key in file.attrs}
    if header.get("format") != FORMAT or header.get("complete") is not True:
        raise RecordingError(
            f"{path} is not a recording of netphys (format {header.get('format')!r}); features from elsewhere are "
            f"named: {path.name}?layer=DATASET&ids=DATASET"
        )
    for key in STATEMENTS:
        if not isinstance(header.get(key), str):
            raise RecordingError(f"{path} does not say its {key}; record it again")
    for key in ("layers", "provenance", *(each for each in ("plan",) if each in header)):
        try:
            header[key] = json.loads(header[key])
        except (ValueError, RecursionError):
            raise RecordingError(f"{path}: its attribute {key} is no JSON; record it again") from None
    names = header["layers"]
    if not isinstance(names, list) or not names or not all(isinstance(each, str) and each for each in names):
        raise RecordingError(f"{path} names no layers; record it again")
    if len(set(names)) != len(names):
        raise RecordingError(f"{path} names a layer twice; record it again")
    if not isinstance(header["provenance"], dict):
        raise RecordingError(f"{path}: its provenance is no table; record it again")
    return header


def _group(path: Path, file: Any, layer: str) -> Any:
    """Find a layer's group."""
    import h5py

    root = file.get("layers")
    group = root.get(escape(layer)) if isinstance(root, h5py.Group) else None
    if not isinstance(group, h5py.Group):
        raise RecordingError(f"{path} lacks the layer {layer!r} that it names; record it again")
    return group


def _entry(path: Path, group: Any, layer: str, place: int) -> Entry:
    """Check one layer's activations."""
    import h5py

    data = group.get("activation")
    if not isinstance(data, h5py.Dataset) or data.shape is None or data.dtype.kind != "f" or data.ndim < 2:
        raise RecordingError(f"{path}: layer {layer!r} has no activation (stimulus, unit, ...) of floats")
    dims = tuple(dim.label for dim in data.dims)
    if dims[0] != "stimulus" or not known_dims(dims[1:]):
        raise RecordingError(f"{path}: layer {layer!r} has the axes {dims}, expected ('stimulus', 'unit', ...)")
    kind = one_attribute(group, "kind") if "kind" in group.attrs else ""
    index = one_attribute(group, "index") if "index" in group.attrs else place
    if not isinstance(kind, str) or not isinstance(index, int):
        raise RecordingError(f"{path}: layer {layer!r} does not say its kind and index; record it again")
    try:
        sizes = dict(zip(dims[1:], data.shape[1:]))
        facts = read_facts(one_attribute(group, "facts"), sizes) if "facts" in group.attrs else {}
    except ValueError:
        raise RecordingError(f"{path}: layer {layer!r} does not say what it is; record it again") from None
    return Entry(layer, kind, dims[1:], tuple(data.shape[1:]), index, **facts)


def _ids(path: Path, group: Any, layer: str, known: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Check one layer's stimulus ids; those that are `known` from another layer were checked there."""
    import h5py

    data = group.get("stimulus_id")
    if not isinstance(data, h5py.Dataset) or data.ndim != 1 or h5py.check_string_dtype(data.dtype) is None:
        raise RecordingError(f"{path}: layer {layer!r} has no stimulus_id; record it again")
    ids = tuple(read_texts(path, data))
    if ids == known and len(ids) == group["activation"].shape[0]:
        return known
    if len(ids) != group["activation"].shape[0]:
        raise RecordingError(
            f"{path}: layer {layer!r} has {len(ids)} stimulus_ids for {group['activation'].shape[0]} rows"
        )
    try:
        require_unique(ids, what=f"{path}, layer {layer!r}")
    except MatchError as error:
        raise RecordingError(str(error)) from None
    return ids


def values_digest(data: Any) -> str:
    """Digest a layer's values in C order, as they were when they were packed."""
    sha, stored = hashlib.sha256(), Stored(data)
    a_row = max(1, int(np.prod(data.shape[1:])) * stored.dtype.itemsize)
    rows = data.chunks[0] if data.chunks else 1
    step = max(rows, _READ_BYTES // a_row // rows * rows)
    for first in range(0, data.shape[0], step):
        sha.update(np.ascontiguousarray(stored[first : first + step]).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()
