"""From an address to neural data: ``FILE?variable=NAME&index=0&subject=monkey&region=IT`` or ``world:cortex?...``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netphys.addresses import split_address
from netphys.errors import NeuralDataError, near
from netphys.neural.data import NeuralData
from netphys.neural.files.options import SUFFIXES, take_options
from netphys.neural.files.paths import existing

if TYPE_CHECKING:
    from netphys.neural.files.options import FileOptions

__all__ = ["load_neural", "suffix_of"]

_TABLES = (".tsv", ".tab", ".txt", ".dat", ".xls", ".xlsx", ".ods")


def load_neural(
    address: str | Path,
    *,
    ids: str | Sequence[str] | None = None,
    stimuli: Any = None,
    name: str | None = None,
    seed: int = 0,
) -> NeuralData:
    """Load neural data: RDMs of subjects, or an assembly of responses.

    Parameters
    ----------
    address : str
        A file (.nc, .nwb, .mat, .npz, .npy, .csv, .h5), a folder or .zip of packed rasters, what is inside by query;
        ``world:cortex?region=IT&seed=0``; ``catalogue:NAME``. What a file takes is listed in
        :class:`netphys.neural.files.options.FileOptions` and, with an example of each, in docs/neural.md; the cortex
        takes ``region`` (V1, V4, IT), ``seed``, ``subjects``, ``neuroids``, ``repetitions``, ``shared``,
        ``noise_kind``, ``noise``, ``rate``, ``fano``, ``noise_spread``, ``noise_correlation``, ``name``.
    ids : str or sequence of str, optional
        The list that the rows of a file without ids follow: ``FILE:COLUMN`` of a CSV file, relative to the working
        directory, or the ids. The address' own ``ids`` wins.
    stimuli : StimulusSet, optional
        What a simulated cortex is shown; files do not need it.
    name : str, optional
        The dataset's name; default the file's name without its suffix.
    seed : int
        The seed of a simulated cortex whose address names none.

    Returns
    -------
    NeuralData

    Raises
    ------
    NeuralDataError
        If the file cannot be understood as asked; one line that names it and what would be right.
    AddressError
        If the address has an option that is unknown or no value of its kind.

    Examples
    --------
    >>> load_neural("it.mat?variable=RDMs&index=0&subject=monkey&region=IT", ids="list.csv:file")  # doctest: +SKIP
    NeuralData(it: 1 RDM of IT (monkey), 92 stimuli; it.mat, variable RDMs, by order to list.csv:file)
    """
    body, query = split_address(str(address))
    if not body.strip():
        raise NeuralDataError(
            f"the address of neural data is empty ({str(address)!r}); give a file, what it is by query"
        )
    if body == "world:cortex":
        from netphys.neural.cortex.simulated import load_cortex

        return load_cortex(query, stimuli, name=name, seed=seed)
    if body.startswith("catalogue:"):
        from netphys.neural.catalogue.loading import load_entry

        return load_entry(body.removeprefix("catalogue:"), query, ids=ids, name=name)
    _refuse_schemes(body)
    folder = _is_folder(body)
    path = Path(body) if folder else existing(Path(body))
    suffix = "" if folder else suffix_of(path)
    options = take_options(query, suffix)
    listed = options.ids if options.ids is not None else ids
    return _read(path, suffix, options, listed, options.name or name or path.stem)


def _read(path: Path, suffix: str, options: FileOptions, ids: str | Sequence[str] | None, name: str) -> NeuralData:
    """Call the reader that the suffix and the options ask for."""
    if suffix == ".nwb" or (not suffix and _is_zarr(path)):
        from netphys.neural.files.nwb import load_nwb

        return load_nwb(path, options, ids, name)
    if suffix in ("", ".zip"):
        from netphys.neural.files.rasters import load_rasters

        return load_rasters(path, options, ids, name)
    if suffix in (".nc", ".nc4"):
        from netphys.neural.files.netcdf import load_netcdf

        return load_netcdf(path, options, ids, name)
    if suffix == ".csv" and (options.kind in ("responses", "behaviour") or options.form is not None):
        from netphys.neural.files.tables import load_table

        return load_table(path, options, ids, name)
    if suffix in (".h5", ".hdf5") and options.variable is None and options.kind in (None, "responses"):
        from netphys.neural.files.saved_datasets import is_saved_dataset

        if is_saved_dataset(path, options.group):
            from netphys.neural.files.saved_datasets import load_saved_dataset

            return load_saved_dataset(path, options, ids, name)
    if options.kind in ("responses", "behaviour"):
        from netphys.neural.files.responses import load_responses

        return load_responses(path, suffix, options, ids, name)
    from netphys.neural.files.rdm_files import load_rdms

    return load_rdms(path, suffix, options, ids, name)


def _is_folder(body: str) -> bool:
    """Tell a folder; what is no path (too long, with a NUL) is none, and is told of by who opens it."""
    try:
        return Path(body).is_dir()
    except (OSError, ValueError):
        return False


def _is_zarr(folder: Path) -> bool:
    """Tell a Zarr store, which NWB files may be."""
    return any((folder / each).exists() for each in (".zgroup", ".zattrs", "zarr.json"))


def suffix_of(path: Path) -> str:
    """The suffix that says how a file is read, in lower case.

    Raises
    ------
    NeuralDataError
        For another one, with the list of those that are known.
    """
    suffix = path.suffix.lower()
    if suffix in _TABLES:
        raise NeuralDataError(f"{path}: tables are read as CSV (UTF-8, commas, decimals with a point); save it as CSV")
    if suffix not in SUFFIXES:
        raise NeuralDataError(
            f"{path}: files of neural data end in {', '.join(SUFFIXES)}, not in {suffix or 'nothing'!r}"
            f"{near(suffix, SUFFIXES) if suffix else ''}"
        )
    return suffix


def _refuse_schemes(body: str) -> None:
    """Say what other addresses lead to, where no file has that name."""
    scheme, colon, _ = body.partition(":")
    if not colon or len(scheme) < 2 or "/" in scheme or Path(body).exists():
        return
    if scheme == "world":
        raise NeuralDataError(f"there is no {body!r} of neural data{near(body, ['world:cortex'])}")
    raise NeuralDataError(
        f"{body!r} is no file, and neural data have no addresses {scheme}:...; give a file ({', '.join(SUFFIXES)}), "
        "world:cortex or catalogue:NAME"
    )
