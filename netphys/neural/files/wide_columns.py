"""Which column of a wide table is what: ids, row numbers, coordinates, and the numbers that are left."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

from netphys.errors import NeuralDataError, near
from netphys.neural.files.arrays import ID_COLUMNS
from netphys.neural.files.columns import MISSING, number, numbers_rows

__all__ = [
    "OF_PRESENTATIONS",
    "is_index",
    "is_text",
    "matching",
    "require_known",
    "require_no_trials",
    "require_plain",
    "takes_ids_elsewhere",
]

OF_PRESENTATIONS = frozenset(  # a column of numbers of this name says something of a presentation; it is no response
    [
        "trial",
        "trial_id",
        "trial_number",
        "trial_nr",
        "trialid",
        "rt",
        "rts",
        "reaction_time",
        "reactiontime",
        "response_time",
        "latency",
        "day",
        "date",
        "time",
        "timestamp",
        "onset",
        "stim_on",
        "stim_off",
        "start_time",
        "stop_time",
        "block",
        "block_id",
        "run",
        "run_id",
        "index",
        "row_number",
        "category_id",
        "category",
        "label",
        "label_id",
        "condition",
        "condition_id",
        "session",
        "session_id",
        "image",
        "image_number",
        "image_index",
        "image_nr",
        "stimulus",
        "stimulus_number",
        "stim",
        "stim_id",
        "stim_num",
        "correct",
        "object",
        "object_id",
        "repetition_id",
        "rep",
        "subject",
        "animal",
        "monkey",
        "age",
        "sex",
    ]
)
_MAY_BE_CHOICES = frozenset(
    [
        "animal",
        "monkey",
        "object",
        "image",
        "label",
        "condition",
        "category",
        "subject",
        "age",
        "sex",
        "time",
        "stimulus",
        "stim",
    ]
)
_OF_NEUROIDS = frozenset(  # and this of a neuroid, where a row is one
    [
        "depth",
        "channel",
        "electrode",
        "electrode_id",
        "rf_x",
        "rf_y",
        "rf_size",
        "snr",
        "n_trials",
        "session_id",
        "region_id",
        "cluster_id",
        "unit_id",
        "reliability",
    ]
)
_NO_STIMULI = frozenset(  # columns of text that describe a presentation or neuroid and do not name it
    [
        "category",
        "object",
        "object_name",
        "label",
        "condition",
        "session",
        "day",
        "date",
        "animal",
        "monkey",
        "subject",
        "region",
        "area",
        "truth",
        "block",
        "quality",
    ]
)


def is_text(cells: list[str]) -> bool:
    """Tell whether no cell of a column is a number, and one is text; a column of both is a mistake, no text."""
    texts = [cell for cell in cells if cell not in MISSING]
    return bool(texts) and all(number(cell) is None for cell in texts)


def is_index(header: list[str], cells: list[list[str]]) -> bool:
    """Tell whether the first column has no name and numbers rows, as pandas writes its index."""
    return not header[0] and numbers_rows([row[0] for row in cells], len(cells))


def require_no_trials(path: Path, header: list[str], cells: list[list[str]]) -> None:
    """Refuse a table of behaviour that may be of trials or judgements: several columns of text may name its rows."""
    texts = [header[at] for at in range(len(header)) if is_text([row[at] for row in cells])]
    if len([name for name in texts if not _describes(name)]) > 1 or (texts and _describes(texts[0])):
        raise NeuralDataError(
            f"{path}: which column says the stimulus? columns of text are {', '.join(map(repr, texts[:6]))}; one row a "
            "trial: say stimulus=COLUMN&value=COLUMN of its choices (or netphys.neural.behaviour.choices_from_trials); "
            "judgements of similarity: netphys.neural.behaviour.similarities_from_csv; probabilities: stimulus=COLUMN"
        )


def takes_ids_elsewhere(path: Path, header: list[str], cells: list[list[str]], *, across: bool) -> int | None:
    """Say which column has the ids of rows where the first is pandas' index; None if the index is the ids.

    Raises
    ------
    NeuralDataError
        If nothing tells: no column is called ids, and the one beside the index is not of text that may name rows.
    """
    called = next((at for at, name in enumerate(header) if name and name.lower() in ID_COLUMNS), None)
    if called is not None:
        return called
    counted = [row[0] for row in cells] == [str(at) for at in range(len(cells))]
    texts = [at for at in range(1, len(header)) if is_text([row[at] for row in cells])]
    if across:  # numbers may name neuroids; text beside them may, if it is different in every row
        texts = [at for at in texts if len({row[at] for row in cells}) == len(cells) and not _describes(header[at])]
        if not texts:
            return None
    if counted and texts and texts[0] == 1 and not _describes(header[1]):
        return 1
    if not across and not counted and not texts:  # whole numbers in an order of their own, under no name: a list of ids
        return None
    option = "neuroid" if across else "stimulus"
    columns = ", ".join(header[at] for at in (texts or range(1, len(header)))[:6])
    raise NeuralDataError(
        f"{path}: its first column has no name and numbers rows, as pandas' index; say which column names each "
        f"{option}: {option}=COLUMN ({columns}{', ...' if len(header) > 7 and not texts else ''}), first=ids if the "
        "numbers do, or first=values if rows follow a list (ids=)"
    )


def require_plain(path: Path, header: list[str], cells: list[list[str]]) -> None:
    """Refuse to take a first column of text as ids that describes what another column of text names."""
    texts = [at for at in range(len(header)) if is_text([row[at] for row in cells])]
    if texts[:1] == [0] and _describes(header[0]) and not all(_describes(header[at]) for at in texts):
        named = next(header[at] for at in texts if not _describes(header[at]))
        raise NeuralDataError(
            f"{path}: which column names the rows, {header[0]!r} or {named!r}? say stimulus={named} (neuroid={named} "
            "where a row is a neuroid), or put it first"
        )


def _describes(name: str) -> bool:
    return name.lower() in _NO_STIMULI or name.lower() in ("repetition", "distractor", "choice")


def matching(path: Path, header: list[str], patterns: str, *, but: set[int]) -> list[int]:
    """Columns whose names match ``neuroid=``: patterns as ``sig*``, or a list of names with commas.

    Raises
    ------
    NeuralDataError
        If a pattern or name matches none, or one name without a pattern is said, which is of long form.
    """
    asked = [each.strip() for each in patterns.split(",")]
    if len(asked) == 1 and not any(mark in asked[0] for mark in "*?["):
        raise NeuralDataError(
            f"{path}: neuroid= is of a table in long form if it names one column, and this is read as wide; say "
            f"form=long if {asked[0]!r} says which neuroid, or a pattern of the columns that are neuroids: "
            "neuroid=sig*"
        )
    for each in asked:
        if not any(fnmatchcase(name, each) for name in header):
            raise NeuralDataError(f"{path} has no column {each!r} (neuroid=){near(each, header)}")
    return [at for at, name in enumerate(header) if at not in but and any(fnmatchcase(name, each) for each in asked)]


def require_known(path: Path, names: list[str], *, across: bool, choices: bool, named: bool) -> None:
    """Refuse columns of numbers that by their names are no responses.

    Parameters
    ----------
    path : Path
        The file, for messages.
    names : list of str
        The columns that would be neuroids, stimuli (`across`) or choices.
    across, choices : bool
        What a row is; what the columns are.
    named : bool
        Whether a column of ids is known.
    """
    known = _OF_NEUROIDS if across else (OF_PRESENTATIONS - _MAY_BE_CHOICES if choices else OF_PRESENTATIONS)
    stray = next((name for name in names if name.lower() in known), None)
    if stray is None:
        return
    if across:
        raise NeuralDataError(
            f"{path}: column {stray!r} says something of the neuroids by its name, and every column beside the ids is "
            "a stimulus; take it out, or rename it"
        )
    if choices:
        raise NeuralDataError(
            f"{path}: column {stray!r} is no choice by its name; with one row a trial say stimulus=COLUMN&value=COLUMN "
            "of its choices, else take it out, or rename it"
        )
    ids = "" if named else f", or stimulus={stray} if it is the stimulus"
    raise NeuralDataError(
        f"{path}: column {stray!r} is no neuroid by its name: say which columns are, neuroid=PATTERN (as sig*){ids}, "
        "or rename it"
    )
