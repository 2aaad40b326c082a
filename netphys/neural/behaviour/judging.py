"""What all judgements share: whose they are, their numbers, and the RDMs that come of them, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from netphys.errors import NeuralDataError, OptionError
from netphys.neural.assemblies import first_presentations
from netphys.neural.behaviour.confusion import POOLED
from netphys.neural.behaviour.trials import column
from netphys.neural.data import NeuralData

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float

__all__ = ["Missing", "judged", "numbers", "subjects_of"]

Missing = Literal["raise", "nan"]
_LISTED = 5  # missing pairs that an error names


def judged(
    rows: Float[np.ndarray, "subject pair"],
    ids: tuple[str, ...],
    subjects: tuple[str, ...],
    *,
    name: str,
    what: str,
    pool: bool,
    missing: Missing,
) -> NeuralData:
    """Check dissimilarities and make NeuralData of them."""
    if missing not in ("raise", "nan"):
        raise OptionError(f"missing={missing!r}: it is raise or nan")
    if len(ids) < 3:
        raise NeuralDataError(f"{what}: {len(ids)} stimuli; an RDM has at least 3")
    if pool and len(rows):
        there = np.isfinite(rows)
        with np.errstate(invalid="ignore", divide="ignore"):
            rows = (np.where(there, rows, 0.0).sum(axis=0) / there.sum(axis=0))[None]
        subjects = (POOLED,)
    lost = np.argwhere(~np.isfinite(rows))
    if len(lost) and missing == "raise":
        upper = np.transpose(np.triu_indices(len(ids), 1))
        named = [f"{ids[upper[pair][0]]} and {ids[upper[pair][1]]}" for _, pair in lost[:_LISTED]]
        whose = f" of {subjects[lost[0][0]]}" if len(subjects) > 1 else ""
        raise NeuralDataError(
            f"{what}{whose}: {len(lost)} pairs were not judged, such as {'; '.join(named)}; judge them, leave stimuli "
            "out, or say missing='nan'"
        )
    kept = np.ascontiguousarray(np.where(np.isfinite(rows), rows, np.nan))
    return NeuralData("rdms", ids, subjects, "", name, f"{what}, by stimulus_id", dissimilarities=kept)


def subjects_of(judgements: pd.DataFrame, what: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Subjects in the order of first appearance, and whose each row is; one, ``subject1``, where there is no column."""
    if "subject" not in judgements.columns:
        return ("subject1",), np.zeros(len(judgements), dtype=np.int64)
    return first_presentations(column(judgements, "subject", what).tolist())


def numbers(judgements: pd.DataFrame, name: str, what: str) -> Float[np.ndarray, " row"]:
    """Take a column of finite numbers."""
    texts = column(judgements, name, what)
    try:
        values = texts.astype(np.float64)
    except ValueError:
        values = np.full(len(texts), np.nan)
        for row, text in enumerate(texts):
            try:
                values[row] = float(text)
            except ValueError:
                break
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise NeuralDataError(
            f"row {bad[0] + 1} of the {what} has {str(texts[bad[0]])[:40]!r} in column {name!r}; a finite number is "
            "needed"
        )
    return values
