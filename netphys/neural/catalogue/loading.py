"""``catalogue:NAME``: a set as neural data, fetched when it is not here yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from netphys.addresses import Query, split_address
from netphys.errors import AddressError, NeuralDataError, near
from netphys.neural.catalogue.entries import ROWS, Catalogue, Entry, read_catalogue
from netphys.neural.catalogue.fetching import fetch

if TYPE_CHECKING:
    from netphys.neural.data import NeuralData

__all__ = ["load_entry"]


def load_entry(
    called: str,
    query: Query,
    *,
    ids: str | Sequence[str] | None = None,
    name: str | None = None,
    catalogue: Catalogue | None = None,
) -> NeuralData:
    """Load a set of the catalogue.

    Parameters
    ----------
    called : str
        The set's name.
    query : Query
        What the user's address says behind ``?``: ``part`` (one of the set's parts), and every option of a file. It
        wins over what the catalogue says.
    ids : str or sequence of str, optional
        The list that rows follow, where no file carries ids; wins over that of the catalogue.
    name : str, optional
        The dataset's name in results; default the set's.
    catalogue : Catalogue, optional
        Where to look it up; default the package's, and that of ``$NETPHYS_CATALOGUE``.

    Raises
    ------
    NeuralDataError
        If there is no such set or part, it cannot be fetched, or cannot be understood.
    """
    from netphys.neural.loading import load_neural

    known = read_catalogue() if catalogue is None else catalogue
    entry = known[called]
    own_body, own = _address_of(entry, query)
    folder = fetch(called, catalogue=known)
    path = folder / own_body
    if "?" in str(folder):
        raise NeuralDataError(f"{folder} has a ? in its path, where an address begins its options; set NETPHYS_DATA")
    if not path.exists():
        raise NeuralDataError(f"{called}: there is no {path}, which the catalogue names; the archive holds other files")
    rows = own.pop("rows", None)
    options = {**own, **query.values}
    if "ids" in own and "ids" not in query.values:
        options["ids"] = f"{folder}/{own['ids']}"
        if ids is not None:
            del options["ids"]
    if ids is None and "ids" not in options and rows and (said := ROWS.fullmatch(rows)):
        ids = tuple(said["pattern"].format(number) for number in range(1, int(said["n"]) + 1))
    tail = "&".join(f"{key}={value}" for key, value in options.items())
    data = load_neural(f"{path}?{tail}" if tail else path, ids=ids, name=name or entry.name)
    return replace(data, source=f"catalogue:{called}, {data.source}")


def _address_of(entry: Entry, query: Query) -> tuple[str, dict[str, str]]:
    """Choose the part, and split its address."""
    part = query.values.pop("part", None)
    if part is not None and part not in entry.parts:
        there = near(part, entry.parts) if entry.parts else "; it has one part only"
        raise AddressError(f"{query.address!r}: {entry.name} has no part {part!r}{there}")
    address = entry.parts[part] if part is not None else entry.address
    if not address and entry.parts:
        raise AddressError(f"{query.address!r} must say which part: {', '.join(entry.parts)}, as in ?part=...")
    if not address:
        how = f": {entry.how.rstrip('.')} ({entry.page})" if entry.how else ""
        raise NeuralDataError(f"{entry.name} is no file that netphys reads by its name{how}")
    body, own = split_address(address)
    return body, own.values
