"""Similarity judgements from CSV files: long tables, one row a judgement, into RDMs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from netphys.errors import NeuralDataError, OptionError, near
from netphys.neural.behaviour.arrangements import rdms_from_arrangements
from netphys.neural.behaviour.similarity import rdms_from_ratings, rdms_from_sortings, rdms_from_triplets
from netphys.neural.data import NeuralData
from netphys.neural.files.ids import read_rows
from netphys.neural.files.paths import existing

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["similarities_from_csv"]

Form = Literal["ratings", "triplets", "sortings", "arrangements"]
_FORMS: dict[str, tuple[Callable[..., NeuralData], tuple[str, ...], tuple[str, ...]]] = {  # needed columns, others
    "ratings": (rdms_from_ratings, ("stimulus_a", "stimulus_b", "rating"), ("subject",)),
    "triplets": (rdms_from_triplets, ("stimulus_a", "stimulus_b", "stimulus_c", "odd"), ("subject",)),
    "sortings": (rdms_from_sortings, ("stimulus", "pile"), ("subject", "sorting")),
    "arrangements": (rdms_from_arrangements, ("trial", "stimulus", "x", "y"), ("subject",)),
}


def similarities_from_csv(
    path: str | Path, form: Form, *, columns: dict[str, str] | None = None, name: str | None = None, **options: Any
) -> NeuralData:
    """Read similarity judgements of a CSV file as RDMs.

    Parameters
    ----------
    path : str or Path
        UTF-8, commas, a header, one row a judgement.
    form : {"ratings", "triplets", "sortings", "arrangements"}
        What a row is: two stimuli and a rating (``stimulus_a``, ``stimulus_b``, ``rating``); three and the odd one
        (``stimulus_a``, ``stimulus_b``, ``stimulus_c``, ``odd``); a stimulus on a pile (``stimulus``, ``pile``,
        ``sorting`` if there are several a subject); a stimulus at a place (``trial``, ``stimulus``, ``x``, ``y``).
        Each may have ``subject``.
    columns : dict, optional
        What those columns are called in the file, where it is something else: ``{"odd": "stimulus_c"}`` for files whose
        third stimulus is the odd one, as the triplets of THINGS are.
    name : str, optional
        The dataset's name; default the file's name without its suffix.
    **options
        Of :func:`rdms_from_ratings` (``scale`` must be said), :func:`rdms_from_triplets`, :func:`rdms_from_sortings` or
        :func:`rdms_from_arrangements`.

    Returns
    -------
    NeuralData
        Of kind ``"rdms"``.

    Raises
    ------
    NeuralDataError
        If the file cannot be understood; one line that names it and what would be right.
    OptionError
        If there is no such form, column or option.
    """
    if form not in _FORMS:
        raise OptionError(f"there is no form {form!r} of judgements{near(str(form), _FORMS)}")
    make, needed, others = _FORMS[form]
    renamed = columns or {}
    unknown = next((each for each in renamed if each not in (*needed, *others)), None)
    if unknown is not None:
        raise OptionError(f"{form} have no column {unknown!r} to rename{near(unknown, [*needed, *others])}")
    if form == "ratings" and "scale" not in options:
        raise OptionError("ratings: say scale='similarity' or scale='dissimilarity', what a large one means")
    file = existing(Path(path))
    table = _table(file, needed, others, renamed)
    try:
        return make(table, name=name or file.stem, **options)
    except NeuralDataError as error:
        raise NeuralDataError(f"{file}: {error}") from None
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise OptionError(f"{form}: {str(error).partition('() ')[2]}") from None


def _table(file: Path, needed: tuple[str, ...], others: tuple[str, ...], renamed: dict[str, str]) -> pd.DataFrame:
    """Read the columns that a form has, all as text, under the form's own names."""
    import pandas as pd

    header, *rows = ([cell.strip() for cell in row] for row in read_rows(file))
    twice = next((each for each in header if header.count(each) > 1), None)
    if twice is not None:
        raise NeuralDataError(f"{file} has two columns {twice!r}; a column's name is its own")
    at: dict[str, int] = {}
    for each in (*needed, *others):
        wanted = renamed.get(each, each)
        if wanted in header:
            at[each] = header.index(wanted)
        elif each in needed or each in renamed:
            raise NeuralDataError(
                f"{file} has no column {wanted!r}{near(wanted, header)}; say columns={{{each!r}: its name}}"
            )
    ragged = next((row for row, cells in enumerate(rows, start=2) if len(cells) != len(header)), None)
    if ragged is not None:
        raise NeuralDataError(f"{file}: row {ragged} has {len(rows[ragged - 2])} cells, the header has {len(header)}")
    if not rows:
        raise NeuralDataError(f"{file} has a header and no rows; one row a judgement is needed")
    return pd.DataFrame({each: [cells[place] for cells in rows] for each, place in at.items()}, dtype=str)
