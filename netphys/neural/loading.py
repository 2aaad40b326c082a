"""From an address to neural data: ``FILE?variable=NAME&index=0&subject=monkey&region=IT`` or ``world:cortex?...``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netphys.addresses import split_address
from netphys.errors import NeuralDataError, near
from netphys.neural.data import NeuralData
from netphys.neural.options import SUFFIXES, take_options
from netphys.neural.paths import existing

__all__ = ["load_neural", "suffix_of"]


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
        A file (.mat, .npz, .npy, .csv, .h5, .nc), what is inside by query, or ``world:cortex?region=IT&seed=0``.
        Options of a file: ``variable``, ``field`` (of a struct array), ``index`` (``0`` or ``:,1``), ``average`` (an
        axis), ``stack`` (``first``, ``last``), ``kind`` (``rdms``, ``responses``), ``axes``, ``group``, ``subject``,
        ``region``, ``name``, ``ids``, ``first`` (what the first column of a CSV file is: ``ids``, ``values``). Options
        of the cortex: ``region``, ``seed``, ``subjects``, ``neuroids``, ``repetitions``, ``noise``, ``shared``.
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
    if body == "world:cortex":
        from netphys.neural.simulated import load_cortex

        return load_cortex(query, stimuli, name=name, seed=seed)
    _refuse_schemes(body)
    path = existing(Path(body))
    suffix = suffix_of(path)
    options = take_options(query, suffix)
    listed = options.ids if options.ids is not None else ids
    called = options.name or name or path.stem
    if suffix in (".nc", ".nc4"):
        from netphys.neural.assembly_files import load_netcdf

        return load_netcdf(path, options, listed, called)
    if options.kind == "responses":
        from netphys.neural.assembly_files import load_responses

        return load_responses(path, suffix, options, listed, called)
    from netphys.neural.rdm_files import load_rdms

    return load_rdms(path, suffix, options, listed, called)


def suffix_of(path: Path) -> str:
    """The suffix that says how a file is read, in lower case.

    Raises
    ------
    NeuralDataError
        For another one, with the list of those that are known.
    """
    suffix = path.suffix.lower()
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
        f"{body!r} is no file, and neural data have no addresses {scheme}:...; give a file ({', '.join(SUFFIXES)}) or "
        "world:cortex"
    )
