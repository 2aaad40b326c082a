"""Judgements from CSV: good files of every form load; each mistake in one is one line that names the file."""

from __future__ import annotations

import numpy as np
import pytest

from netphys.errors import NetphysError, OptionError
from netphys.neural.behaviour.judgements import similarities_from_csv

GOOD = {
    "ratings": "subject,stimulus_a,stimulus_b,rating\ns,a,b,6\ns,a,c,2\ns,b,c,1\n",
    "triplets": "stimulus_a,stimulus_b,stimulus_c,odd\na,b,c,c\na,b,d,d\na,c,d,a\nb,c,d,b\n",
    "sortings": "subject,stimulus,pile\ns,a,1\ns,b,1\ns,c,2\n",
    "arrangements": "subject,trial,stimulus,x,y\ns,1,a,0,0\ns,1,b,0,1\ns,1,c,3,0\n",
}
OPTIONS = {"ratings": {"scale": "similarity"}}
TRUE = {
    "ratings": [[0.0, 4.0, 5.0]],
    "triplets": [[0.0, 1.0, 1.0, 1.0, 1.0, 0.0]],
    "sortings": [[0.0, 1.0, 1.0]],
    "arrangements": [np.array([1, 3, np.sqrt(10)]) / np.sqrt(20 / 3)],
}


@pytest.mark.parametrize("form", GOOD)
def test_each_form_loads(form, tmp_path):
    path = tmp_path / "judged.csv"
    path.write_text("﻿" + GOOD[form], encoding="utf-8")
    found = similarities_from_csv(path, form, **OPTIONS.get(form, {}))
    np.testing.assert_allclose(found.dissimilarities, TRUE[form])
    assert found.name == "judged" and found.kind == "rdms" and found.source.endswith("by stimulus_id")


def test_columns_of_other_names(tmp_path):
    path = tmp_path / "things.csv"
    path.write_text("i,j,k,extra\na,b,c,\na,b,d,\nc,d,a,\nc,d,b,\n")
    named = {"stimulus_a": "i", "stimulus_b": "j", "stimulus_c": "k", "odd": "k"}
    found = similarities_from_csv(path, "triplets", columns=named, name="THINGS")
    assert found.name == "THINGS"
    np.testing.assert_allclose(found.dissimilarities, TRUE["triplets"])


def new(old: str, by: str):
    return lambda text: text.replace(old, by, 1)


CASES = {
    # form, how it is spoilt, words of the line
    "empty": ("ratings", lambda _: "", "is empty"),
    "only a header": ("ratings", lambda text: text.splitlines()[0] + "\n", "a header and no rows"),
    "blank lines only": ("sortings", lambda _: "\n\n", "has no rows"),
    "semicolons": ("ratings", lambda text: text.replace(",", ";"), "no column 'stimulus_a'"),
    "no header": ("sortings", lambda text: text.split("\n", 1)[1], "no column 'stimulus'"),
    "column misspelt": ("ratings", new("rating", "ratings"), "no column 'rating'; near: 'ratings'"),
    "column missing": ("arrangements", new("trial,", "run,"), "no column 'trial'"),
    "column twice": ("sortings", new("pile", "stimulus"), "two columns 'stimulus'"),
    "row too short": ("ratings", new("s,a,c,2", "s,a,c"), "row 3 has 3 cells, the header has 4"),
    "row too long": ("ratings", new("s,a,c,2", "s,a,c,2,9"), "row 3 has 5 cells"),
    "not UTF-8": ("ratings", lambda text: text.replace("a,b,6", "ä,b,6").encode("latin-1"), "UTF-8"),
    "a quote left open": ("ratings", new("s,a,c,2", 's,"a,c,2'), "not a CSV file"),
    "a spreadsheet's zip": ("ratings", lambda _: b"PK\x03\x04\xff\xfe\x00\x80", "UTF-8"),
    "rating in words": ("ratings", new("a,c,2", "a,c,very"), "row 2 of the ratings has 'very' in column 'rating'"),
    "rating empty": ("ratings", new("a,c,2", "a,c,"), "empty cell in column 'rating', row 2"),
    "rating NaN": ("ratings", new("a,c,2", "a,c,nan"), "'nan' in column 'rating'; a finite number"),
    "rating infinite": ("ratings", new("a,c,2", "a,c,inf"), "'inf' in column 'rating'; a finite number"),
    "comma for a point": ("ratings", new("a,c,2", 'a,c,"2,5"'), "'2,5' in column 'rating'"),
    "stimulus empty": ("ratings", new("s,a,c", "s,,c"), "empty cell in column 'stimulus_a', row 2"),
    "beside itself": ("ratings", new("s,a,c", "s,c,c"), "row 2 of the ratings sets 'c' beside itself"),
    "pair never rated": ("ratings", new("s,b,c,1\n", ""), "1 pairs were not judged, such as b and c"),
    "pair lost by a space": ("ratings", new("s,b,c", "s,b,c x"), "pairs were not judged"),
    "one pair only": ("ratings", new("s,a,c,2\ns,b,c,1\n", ""), "2 stimuli; an RDM has at least 3"),
    "subject empty": ("ratings", new("s,a,c", ",a,c"), "empty cell in column 'subject', row 2"),
    "another subject's pairs": ("ratings", new("s,a,c", "t,a,c"), "of s: 3 pairs were not judged"),
    "odd one is none": ("triplets", new("a,b,c,c", "a,b,c,d"), "row 1 of the triplets has 'd' as the odd one of a"),
    "odd one is a number": ("triplets", new("a,b,c,c", "a,b,c,3"), "their ids, not 1, 2, 3"),
    "the same twice": ("triplets", new("a,b,d,d", "a,a,d,d"), "row 2 of the triplets shows a, a, d"),
    "odd one empty": ("triplets", new("a,b,d,d", "a,b,d,"), "empty cell in column 'odd', row 2"),
    "pair in no triplet": ("triplets", new("a,c,d,a\nb,c,d,b\n", ""), "1 pairs were not judged, such as c and d"),
    "pile empty": ("sortings", new("s,b,1", "s,b,"), "empty cell in column 'pile', row 2"),
    "on two piles": ("sortings", new("s,b,1", "s,a,2"), "'a' stands 2 times"),
    "sorted apart": ("sortings", new("s,c,2", "t,c,2"), "pairs were not judged"),
    "place in words": ("arrangements", new("a,0,0", "a,left,0"), "row 1 of the arrangements has 'left' in column 'x'"),
    "place NaN": ("arrangements", new("a,0,0", "a,0,NaN"), "'NaN' in column 'y'"),
    "twice on the screen": ("arrangements", new("c,3,0", "a,3,0"), "'a' lies twice in s, trial 1"),
    "two on the screen": ("arrangements", new("s,1,c,3,0", "s,2,c,3,0"), "s, trial 1 of the arrangements has 2"),
    "all in one place": (
        "arrangements",
        lambda text: text.replace("0,1", "0,0").replace("3,0", "0,0"),
        "all stimuli in one place",
    ),
    "trial empty": ("arrangements", new("s,1,b", "s,,b"), "empty cell in column 'trial', row 2"),
    "scales unknown": (
        "arrangements",
        lambda text: text + "".join(f"s,2,{each},{at},{at}\n" for at, each in enumerate("def")),
        "3 of 6|share no pair",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_one_line_that_names_the_file(case, tmp_path):
    form, spoil, words = CASES[case]
    path = tmp_path / "judged.csv"
    spoilt = spoil(GOOD[form])
    assert spoilt != GOOD[form]
    path.write_bytes(spoilt if isinstance(spoilt, bytes) else spoilt.encode())
    with pytest.raises(NetphysError, match=words) as error:
        similarities_from_csv(path, form, **OPTIONS.get(form, {}))
    assert "judged.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path):
    for path in (tmp_path / "no.csv", tmp_path):
        with pytest.raises(NetphysError, match=str(path)):
            similarities_from_csv(path, "sortings")


BAD = {
    "form": ("rating", {}, "no form 'rating' of judgements; near: 'ratings'"),
    "scale unsaid": ("ratings", {}, "say scale='similarity' or scale='dissimilarity'"),
    "a column of another form": ("sortings", {"columns": {"odd": "x"}}, "sortings have no column 'odd' to rename"),
    "an option of another form": ("sortings", {"scale": "similarity"}, "unexpected keyword argument 'scale'"),
    "missing": ("sortings", {"missing": "drop"}, "raise or nan"),
}


@pytest.mark.parametrize("case", BAD)
def test_options_that_cannot_be(case, tmp_path):
    form, options, words = BAD[case]
    path = tmp_path / "judged.csv"
    path.write_text(GOOD.get(form, GOOD["sortings"]))
    with pytest.raises(OptionError, match=words):
        similarities_from_csv(path, form, **options)
