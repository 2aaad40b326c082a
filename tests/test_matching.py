"""netphys.matching: stimuli are joined by stimulus_id, never by position."""

from __future__ import annotations

import numpy as np
import pytest

from netphys.errors import MatchError
from netphys.matching import match_stimuli, require_unique


def test_rows_follow_the_data_whatever_the_order() -> None:
    rng = np.random.default_rng(0)
    shown = [f"s{index}" for index in rng.permutation(50)]
    recorded = [f"s{index}" for index in rng.permutation(50)[:30]]
    match = match_stimuli(shown, recorded)
    assert [shown[row] for row in match.model_rows] == recorded == list(match.stimulus_ids)
    assert match.data_rows.tolist() == list(range(30)) and len(match.extra) == 20 and match.missing == ()
    assert [shown[row] for row in range(30)] != recorded  # control: by position it would be wrong
    assert repr(match) == "Match(30 stimuli, 20 only shown, 0 only recorded)"


def test_ids_compare_as_strings() -> None:
    assert match_stimuli([1, 2], ["2", "1"]).model_rows.tolist() == [1, 0]
    with pytest.raises(MatchError):
        match_stimuli(["1"], [1.0])


def test_partial_leaves_out_what_was_not_shown() -> None:
    with pytest.raises(
        MatchError, match=r"1 of 3 stimuli of V4 are not among the 2 of alexnet: 'c'; .*--ids FILE:COLUMN"
    ):
        match_stimuli(["a", "b"], ["c", "b", "a"], model="alexnet", data="V4")
    match = match_stimuli(["a", "b"], ["c", "b", "a"], partial=True)
    assert match.missing == ("c",) and match.data_rows.tolist() == [1, 2] and match.model_rows.tolist() == [1, 0]
    with pytest.raises(MatchError, match="2 of 2 stimuli"):
        match_stimuli(["a"], ["b", "c"], partial=True)  # nothing in common is no partial match


def test_a_near_id_is_named() -> None:
    with pytest.raises(MatchError, match="'face/01.jpg'; near: 'face/01.png'"):
        match_stimuli(["face/01.png", "house"], ["face/01.jpg"])


def test_ids_that_occur_twice_are_refused() -> None:
    with pytest.raises(
        MatchError, match=r"4 stimulus_id\(s\) of photos occur more than once: 'a', 'b', 'c' and 1 more"
    ):
        require_unique(list("abcdabcd"), what="photos")
    with pytest.raises(MatchError, match="of the neural data occur more than once: '1'"):
        match_stimuli(["1"], [1, "1"])
    assert require_unique([1, "b"], what="x") == ["1", "b"]
