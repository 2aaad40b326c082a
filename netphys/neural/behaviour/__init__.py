"""What do subjects and networks do? Confusions, object-level and image-level signatures, similarity judgements."""

from __future__ import annotations

from netphys.neural.behaviour.arrangements import combine_arrangements, rdms_from_arrangements
from netphys.neural.behaviour.choices import Signature, i1, i1n, i2, i2n, o1, o2, signature
from netphys.neural.behaviour.confusion import Confusion, confusion
from netphys.neural.behaviour.consistency import Consistency, consistency
from netphys.neural.behaviour.judgements import similarities_from_csv
from netphys.neural.behaviour.similarity import (
    rdms_from_confusions,
    rdms_from_ratings,
    rdms_from_sortings,
    rdms_from_triplets,
)
from netphys.neural.behaviour.trials import choices_from_trials

__all__ = [
    "Confusion",
    "Consistency",
    "Signature",
    "choices_from_trials",
    "combine_arrangements",
    "confusion",
    "consistency",
    "i1",
    "i1n",
    "i2",
    "i2n",
    "o1",
    "o2",
    "rdms_from_arrangements",
    "rdms_from_confusions",
    "rdms_from_ratings",
    "rdms_from_sortings",
    "rdms_from_triplets",
    "signature",
    "similarities_from_csv",
]
