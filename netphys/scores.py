"""The tidy frame of a comparison: the same columns for RSA, encoding and probes, so that they stand in one figure.

========================  ==========================================================================================
network, training         the network's name; an objective's name, ``untrained`` or ``pretrained``, or ``none``
layer, layer_index        the layer, and its place in order of execution (0 first)
dataset, region, subject  the neural data; ``subject`` is ``mean of N`` where scores of N subjects were averaged
measure                   what the score is, e.g. ``spearman of correlation RDMs``
score                     raw
ci_low, ci_high           95 % interval of `score`
ceiling_low, _high        the noise ceiling, an interval; missing where the data allow none
score_ceiled              ``score / ceiling_low``; missing where there is no ceiling
ceiling_rule              how the ceiling was computed, or why there is none
n_stimuli, n_units        how many stimuli were compared; how many units the layer has (each at all its positions)
p                         one-sided, against 0
seed                      the seed of the resampling
========================  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "read_tidy", "tidy"]

COLUMNS = (
    "network",
    "training",
    "layer",
    "layer_index",
    "dataset",
    "region",
    "subject",
    "measure",
    "score",
    "ci_low",
    "ci_high",
    "ceiling_low",
    "ceiling_high",
    "score_ceiled",
    "ceiling_rule",
    "n_stimuli",
    "n_units",
    "p",
    "seed",
)

_LABELS = ("network", "training", "layer", "dataset", "region", "subject", "measure", "ceiling_rule")
_MISSING = {column: ["", "nan"] for column in COLUMNS if column not in _LABELS}


def tidy(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Make the tidy frame of rows; a row lacks columns it cannot know, and has no others.

    Raises
    ------
    KeyError
        If a row has a column that the frame does not know (a bug of the caller).
    """
    import pandas as pd

    rows = list(rows)
    unknown = {key for row in rows for key in row} - set(COLUMNS)
    if unknown:
        raise KeyError(f"not columns of the tidy frame: {sorted(unknown)}")
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"n_units": "Int64"})


def read_tidy(path: Path) -> pd.DataFrame:
    """Read a tidy frame from CSV: labels stay text ("1", "NA", "None"), empty numbers are NaN."""
    import pandas as pd

    frame = pd.read_csv(path, dtype=dict.fromkeys(_LABELS, str), keep_default_na=False, na_values=_MISSING)
    return frame[list(COLUMNS)].astype({"n_units": "Int64"})
