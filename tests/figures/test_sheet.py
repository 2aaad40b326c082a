"""A contact sheet: which stimuli are on it, in which order, with which words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from netphys.errors import OptionError
from netphys.figures import save_picture, sheet_figure
from netphys.stimuli import StimulusSet

LEVELS = np.arange(100, dtype=np.uint8)
SHOWN = StimulusSet.from_arrays(
    np.broadcast_to(LEVELS[:, None, None, None], (100, 3, 8, 8)).copy(),
    metadata=pd.DataFrame({"level": LEVELS.astype(float) / 3, "name": ["a very long name of a stimulus"] * 100}),
)


def _levels(figure):
    return [round(float(ax.images[0].get_array()[0, 0, 0]) * 255) for ax in figure.axes]


def test_a_larger_set_is_spread_evenly_and_a_smaller_one_shown_whole():
    assert _levels(sheet_figure(SHOWN, n=12)) == [0, 9, 18, 27, 36, 45, 54, 63, 72, 81, 90, 99]
    assert _levels(sheet_figure(SHOWN[:5])) == [0, 1, 2, 3, 4]


def test_rows_are_read_from_the_top_left():
    places = [(ax.get_position().x0, ax.get_position().y0) for ax in sheet_figure(SHOWN, n=5, columns=3).axes]
    assert places[0][0] < places[1][0] < places[2][0] and places[3][1] < places[0][1]
    assert places[3][0] == places[0][0]


def test_captions_are_shortened_and_numbers_rounded():
    named = sheet_figure(SHOWN[:3], caption="name").texts[0].get_text()
    assert named.endswith("…") or named == "a very long name of a stimulus"
    assert sheet_figure(SHOWN[1:2], caption="level").texts[0].get_text() == "0.3333"
    with pytest.raises(OptionError, match="has no column 'nmae'; near: 'name'"):
        sheet_figure(SHOWN, caption="nmae")
    with pytest.raises(OptionError, match="at least 1 stimulus"):
        sheet_figure(SHOWN, n=0)


def test_one_picture_of_the_kind_that_its_name_says(tmp_path):
    for suffix, magic in ((".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")):
        made = save_picture(sheet_figure(SHOWN, n=4), tmp_path / f"sheet{suffix}", made={"made_by": "test"})
        assert made[0].read_bytes().startswith(magic) and made[1].name == f"sheet{suffix}.json"
        again = save_picture(sheet_figure(SHOWN, n=4), tmp_path / f"again{suffix}", made={"made_by": "test"})
        assert made[0].read_bytes() == again[0].read_bytes()
    with pytest.raises(OptionError, match="a picture is .pdf, .png, .svg; name it sheet.png"):
        save_picture(sheet_figure(SHOWN, n=4), tmp_path / "sheet", made={})
