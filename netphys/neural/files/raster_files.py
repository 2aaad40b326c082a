"""One neuron's raster as the Neural Decoding Toolbox keeps it: a .mat or .npz file with labels and what the site was.

``raster_data`` (presentation x ms), ``raster_labels`` (a struct of cell arrays, one text a presentation) and
``raster_site_info`` (a struct; ``alignment_event_time`` is the column of stimulus onset, counted from 1). A .npz file
has arrays of these names, those of a struct as ``raster_labels.NAME``, or as structured arrays.

References
----------
Meyers, E. M. (2013). The neural decoding toolbox. Frontiers in Neuroinformatics 7:8. doi:10.3389/fninf.2013.00008.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import NetphysError, NeuralDataError, StimulusError, near
from netphys.guards import first_line
from netphys.neural.files.arrays import npz_variables, read_npz
from netphys.neural.files.labels import texts_of
from netphys.neural.files.matlab import matlab_variables, read_matlab

if TYPE_CHECKING:
    from netphys.stimuli.readers.shelves import Shelf

__all__ = ["DATA", "LABELS", "SITE", "Raster", "describe_rasters", "open_rasters", "read_raster"]

DATA, LABELS, SITE = "raster_data", "raster_labels", "raster_site_info"
_SUFFIXES = (".mat", ".npz")
_MOST_FILES = 20_000  # neurons of one set; the largest public ones have some thousands
_FORMAT = f"{DATA} (presentation x ms), {LABELS} and {SITE} in one .mat or .npz file a neuron"


@dataclass(frozen=True)
class Raster:
    """What one file says of one neuron."""

    said: str  # the file, for messages
    values: np.ndarray  # (presentation, ms), as stored
    labels: dict[str, list[str]]  # one text a presentation
    site: dict[str, Any]  # one number or text a field; arrays are left out
    arrays: tuple[str, ...]  # fields of the site that hold more or less than one value


def open_rasters(path: Path, variable: str) -> Generator[tuple[str, Raster], None, None]:
    """Yield the rasters of a folder or a .zip archive in the order of names, one in memory at a time.

    Parameters
    ----------
    path : Path
        Links in a folder are followed; an archive's members stay in it, one at a time in a temporary folder.
    variable : str
        The array that is the raster, ``raster_data`` unless the user says otherwise.

    Yields
    ------
    (str, Raster)
        The file's relative name, and what it says.

    Raises
    ------
    NeuralDataError
        If there is no raster, or a file that is none, or damaged, or a link to a file that is not there.
    """
    shelf, names = _shelf(path)
    if not names:
        raise NeuralDataError(_no_rasters(path, f"it holds no {' or '.join(_SUFFIXES)} file"))
    from netphys.progress import bar

    with bar(len(names), label=f"reading {path.name}", unit="neuron") as progress:
        for name in names:
            with _reachable(path, shelf, name) as (file, said):
                _require_raster(path, shelf, names, name, said, file, variable)
                raster = read_raster(file, said, variable)
            yield name, raster
            progress.update(1)


def describe_rasters(path: Path, variable: str = DATA) -> dict[str, Any]:
    """Say what a folder or .zip archive of rasters holds, from its first file.

    Parameters
    ----------
    path : Path
    variable : str
        The array that is the raster.

    Returns
    -------
    dict
        As :func:`netphys.neural.describe_file`: ``kind`` ``"rasters"``, ``variables`` and ``kinds`` of the first
        neuron's file, ``n_neurons``, and ``labels``: those that may be the stimulus, with their numbers of values.

    Raises
    ------
    NeuralDataError
        If there is no raster.
    """
    _, names = _shelf(path)
    found = open_rasters(path, variable)
    try:
        _, first = next(found)
    finally:
        found.close()
    shapes = {
        variable: list(first.values.shape),
        **{f"{LABELS}.{key}": [len(each)] for key, each in first.labels.items()},
    }
    return {
        "kind": "rasters",
        "variables": shapes,
        "kinds": {name: "raster" if name == variable else "text" for name in shapes},
        "n_stimuli": None,
        "n_neurons": len(names),
        "labels": {key: len(set(each)) for key, each in first.labels.items()},
        "subjects": [],
        "region": "",
    }


def read_raster(file: Path, said: str, variable: str = DATA) -> Raster:
    """Read one raster.

    Parameters
    ----------
    file : Path
        A .mat or .npz file.
    said : str
        What messages call it.
    variable : str
        The array that is the raster.

    Raises
    ------
    NeuralDataError
        If it lacks labels or site, or they do not fit the raster.
    """
    held = _held(file)
    values = _values(file, said, variable)
    labels = {}
    for name, value in _struct(file, said, LABELS, held).items():
        labels[name] = _label(said, name, value, values.shape, matlab=file.suffix.lower() == ".mat")
    if not labels:
        raise NeuralDataError(f"{said}: {LABELS} has no fields; it holds one text a presentation for each label")
    site, arrays = {}, []
    for name, value in _struct(file, said, SITE, held).items():
        single = _single(value, matlab=file.suffix.lower() == ".mat")
        if single is None:
            arrays.append(name)
        else:
            site[name] = single
    return Raster(said, values, labels, site, tuple(arrays))


def _shelf(path: Path) -> tuple[Shelf, list[str]]:
    """Open the folder or archive, and list the files in it that may be rasters."""
    from netphys.stimuli.readers.shelves import Directory, open_shelf

    try:
        shelf = open_shelf(path)
        files = shelf.files(most=_MOST_FILES)
        links = shelf.lost() if isinstance(shelf, Directory) else []
    except StimulusError as error:
        raise NeuralDataError(f"{error}") from None
    lost = [name for name in links if Path(name).suffix.lower() in _SUFFIXES]
    if lost:  # git-annex and DataLad keep links to files that were not fetched: neurons would be missing unseen
        more = f", nor do {len(lost) - 1} other links" if len(lost) > 1 else ""
        raise NeuralDataError(
            f"{path}: {lost[0]} is a link that leads to nothing{more}; fetch what is meant (git annex get, datalad get)"
        )
    return shelf, [name for name in files if Path(name).suffix.lower() in _SUFFIXES]


@contextmanager
def _reachable(path: Path, shelf: Shelf, name: str) -> Iterator[tuple[Path, str]]:
    """Give a file of the folder, or a member of the archive as a temporary file; messages name where it came from."""
    if path.is_dir():
        yield path / name, str(path / name)
        return
    said = f"{path}: {name}"
    with tempfile.TemporaryDirectory(prefix="netphys-") as folder:
        file = Path(folder) / f"member{Path(name).suffix.lower()}"
        try:
            with shelf.open(name) as packed:
                file.write_bytes(packed.read())
            yield file, said
        except StimulusError as error:
            raise NeuralDataError(f"{error}") from None
        except NetphysError as error:
            raise type(error)(str(error).replace(str(file), said)) from None


def _held(file: Path) -> list[str]:
    """Names of the variables of a file."""
    if file.stat().st_size == 0:
        raise NeuralDataError(f"{file} is empty (0 bytes); fetch it again")
    return list(matlab_variables(file) if file.suffix.lower() == ".mat" else npz_variables(file))


def _require_raster(
    path: Path, shelf: Shelf, names: list[str], name: str, said: str, file: Path, variable: str
) -> None:
    """Refuse a file without a raster: it is the odd one, or there are none at all."""
    try:
        held = _held(file)
        if variable in held:
            return
        why = f"has no variable {variable!r}{near(variable, held)}"
        error: NetphysError = NeuralDataError(f"{said} {why}; every .mat and .npz file beside a raster is one neuron's")
    except NetphysError as damage:
        error, why = damage, f"is unreadable: {damage}"
    for other in names:
        if other != name and _holds(path, shelf, other, variable):
            raise error
    raise NeuralDataError(_no_rasters(path, f"{name} {why}")) from None


def _holds(path: Path, shelf: Shelf, name: str, variable: str) -> bool:
    """Tell whether a file can be read and holds a variable."""
    try:
        with _reachable(path, shelf, name) as (file, _):
            return variable in _held(file)
    except NetphysError:
        return False


def _no_rasters(path: Path, why: str) -> str:
    """Say what a folder or an archive of neural data is."""
    if path.is_dir():
        return (
            f"{path} is a folder; neural data are a file (.nc, .mat, .npy, .npz, .csv, .h5, .nwb), or a folder of "
            f"rasters, {_FORMAT}, and {why}"
        )
    return f"{path} is no archive of rasters, {_FORMAT}: {why}"


def _values(file: Path, said: str, variable: str) -> np.ndarray:
    """Read the raster."""
    value = read_matlab(file, variable) if file.suffix.lower() == ".mat" else read_npz(file, variable)
    if value.dtype.kind not in "fiub":
        what = "text" if value.dtype.kind in "US" else "a cell or struct array"
        raise NeuralDataError(f"{said}: {variable} is {what}; a raster is presentation x ms, of numbers")
    if value.ndim != 2 or 0 in value.shape:
        raise NeuralDataError(f"{said}: {variable} has the shape {value.shape}; a raster is presentation x ms")
    if value.dtype.kind == "f" and np.isinf(value).any():
        raise NeuralDataError(f"{said}: {variable} holds infinity; what is missing is NaN")
    return value


def _struct(file: Path, said: str, name: str, held: list[str]) -> dict[str, np.ndarray]:
    """Read a struct: its fields by name."""
    if file.suffix.lower() == ".npz":
        flat = {each[len(name) + 1 :]: each for each in held if each.startswith((f"{name}.", f"{name}/"))}
        if flat:
            return {field: read_npz(file, each) for field, each in flat.items()}
    if name not in held:
        raise NeuralDataError(f"{said} has no variable {name!r}{near(name, held)}; a raster file has {_FORMAT}")
    value = read_matlab(file, name) if file.suffix.lower() == ".mat" else read_npz(file, name)
    if value.dtype.names is None and value.size == 0:
        return {}
    if value.dtype.names is None or (value.size != 1 and file.suffix.lower() == ".mat"):
        raise NeuralDataError(f"{said}: {name} is not one struct; it has a field for each label or fact")
    if file.suffix.lower() == ".mat":
        return {field: np.asarray(value[field].reshape(-1)[0]) for field in value.dtype.names}
    return {field: np.asarray(value[field]) for field in value.dtype.names}


def _label(said: str, name: str, value: np.ndarray, shape: tuple[int, ...], *, matlab: bool) -> list[str]:
    """Read one label: a text for each presentation."""
    try:
        texts = texts_of(value, matlab=matlab)
    except (ValueError, UnicodeDecodeError) as error:
        raise NeuralDataError(
            f"{said}: {LABELS}.{name}: {first_line(error)}; a label is one text a presentation"
        ) from None
    if len(texts) != shape[0]:
        turned = f", turned around (it has {shape[1]} columns)" if len(texts) == shape[1] else ""
        raise NeuralDataError(
            f"{said}: {LABELS}.{name} has {len(texts)} texts for {shape[0]} presentations; {DATA} is presentation x "
            f"ms{turned}"
        )
    return texts


def _single(value: np.ndarray, *, matlab: bool) -> Any:
    """Read a field of one number or text; None where it is something else."""
    while value.dtype == object and value.size == 1 and isinstance(value.reshape(-1)[0], np.ndarray):
        value = value.reshape(-1)[0]
    if value.size != 1 or value.dtype.kind not in "fiubUS":
        return None
    if value.dtype.kind in "US":
        return texts_of(value, matlab=matlab)[0]
    return value.reshape(-1)[0].item()
