"""Malformed and mismatched CSV tables: each one clear line that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from netphys.errors import NetphysError
from netphys.neural import load_neural

WIDE = "stimulus_id,n1,n2\na,1.5,2\nb,3,4.5\n"
LONG = "stimulus_id,repetition,neuroid_id,region,rate\na,0,n1,IT,1.5\na,0,n2,V4,2\na,1,n1,IT,3\nb,0,n1,IT,4\n"
TRIALS = "stimulus_id,choice,truth\na,cat,cat\nb,dog,cat\n"
BINS = "stimulus_id,neuroid_id,time_bin_start,time_bin_end,rate\na,n1,0,50,1\na,n1,50,100,2\n"

WIDE_CASES: dict[str, tuple[str | bytes, str, str]] = {  # name: text, options, words of the line
    "a cell too few": (WIDE.replace("b,3,4.5", "b,3"), "", r"row 3 has 2 cells, others have 3"),
    "a cell too many": (WIDE.replace("b,3,4.5", "b,3,4.5,6"), "", r"row 1 has 3 cells, others have 4"),
    "nothing below the header": ("stimulus_id,n1,n2\n", "", r"no numbers below its header"),
    "only line ends": ("\n\n\r\n", "", r"has no rows"),
    "only ids": ("stimulus_id\na\nb\n", "", r"no numbers"),
    "tabs": (WIDE.replace(",", "\t"), "", r"parted by tabs; a CSV file has commas"),
    "semicolons": (WIDE.replace(",", ";"), "", r"parted by semicolons"),
    "semicolons and decimal commas": ("0,5;1,5\n2,5;3,5\n", "", r"parted by semicolons.*decimals with a point"),
    "decimal commas in quotes": (WIDE.replace("1.5", '"1,5"'), "", r"'1,5'\): decimals are written with a"),
    "a formula": (WIDE.replace("4.5", "=1+1"), "", r"'=1\+1'\): it is a spreadsheet's formula"),
    "a word among numbers": (WIDE.replace("4.5", "lost"), "", r"a cell that is no number \('lost'\)"),
    "a number with a unit": (WIDE.replace("4.5", "4.5 Hz"), "", r"no number \('4.5 Hz'\)"),
    "a number with an underscore": (WIDE.replace("4.5", "4_500"), "", r"no number \('4_500'\)"),
    "infinity": (WIDE.replace("4.5", "inf"), "", r"holds infinity"),
    "latin-1": (WIDE.replace("b,3", "ä,3").encode("latin-1"), "", r"not a CSV file in UTF-8"),
    "UTF-16 with a mark": (WIDE.encode("utf-16"), "", r"it is UTF-16"),
    "UTF-16 without one": (WIDE.encode("utf-16-le"), "", r"holds bytes of zero"),
    "an open quote": (WIDE.replace("b,3", '"b,3'), "", r"not a CSV file in UTF-8 with commas \(unexpected end"),
    "text behind a quote": (WIDE.replace("b,3", '"b"x,3'), "", r"not a CSV file .*expected after"),
    "two neuroids of one name": (WIDE.replace("n2", "n1"), "", r"neuroid 'n1' is there 2 times"),
    "a neuroid without a name": (WIDE.replace("n2", ""), "", r"neuroid 2 of 2 has no name"),
    "an empty id": (WIDE.replace("b,3", ",3"), "", r"id 2 of 2 is empty"),
    "text after the neuroids": (
        "stimulus_id,n1,kind\na,1,x\nb,2,y\n",
        "",
        r"column 'kind' holds text and stands among the neuroids",
    ),
    "ids that are not first": ("n1,stimulus_id\n1.5,1\n2.5,2\n", "", r"'stimulus_id' holds ids and is not the first"),
    "numbers that may be ids": ("trial,n1\n1,1.5\n2,2.5\n", "", r"'trial', may be ids"),
    "nothing but text": ("stimulus_id,kind\na,x\nb,y\n", "", r"no numbers beside its columns of text"),
    "a repetition twice": (
        "stimulus_id,repetition,n1\na,0,1\na,0,2\n",
        "",
        r"row 3 is the second of stimulus 'a', repetition 0",
    ),
    "repetitions that are words": (
        "stimulus_id,repetition,n1\na,first,1\na,0,2\n",
        "",
        r"column of repetitions holds 'first'",
    ),
    "no such column of ids": (WIDE, "&stimulus=stimulusid", r"no column 'stimulusid'; near: 'stimulus_id'"),
    "no such repetition": (WIDE, "&repetition=trial", r"no column 'trial'"),
    "a named column and no header": ("1,2\n3,4\n5,6\n7,8\n", "&stimulus=file", r"has no header"),
    "three axes": (WIDE, "&axes=stimulus,neuroid,repetition", r"a table of two axes"),
    "options of a long table": (WIDE, "&value=n1", r"value= is of a table in long form"),
    "no neuroids of that pattern": (WIDE, "&neuroid=sig*", r"no column 'sig\*' \(neuroid=\)"),
    "a pattern that takes text": (
        WIDE.replace("n1", "kind").replace("1.5", "x").replace("b,3", "b,y"),
        "&neuroid=*n*",
        r"column 'kind' holds text",
    ),
    "a pattern and no stimulus": ("nr,n1\n1,2\n1,3\n", "&neuroid=n1*", r"which column says the stimulus\?"),
    "the index of pandas and numbers": (",n1,n2\n0,1,2\n1,3,4\n", "", r"as pandas' index; say which column names each"),
    "the index of pandas and numbers of pictures": (
        ",image_number,n1\n0,12,2.5\n1,7,4\n",
        "",
        r"as pandas' index; .*stimulus=COLUMN \(image_number, n1\)",
    ),
    "the index of some rows": (",image,n1\n4,a,2.5\n1,b,4\n", "", r"stimulus=COLUMN \(image\)"),
    "the index beside what does not name": (",category,n1\n0,a,2.5\n1,b,4\n", "", r"stimulus=COLUMN \(category\)"),
    "an index of neuroids": (
        ",site,depth_,a\n0,s1,2.5,1\n1,s2,4,2\n".replace("site,depth_", "kind,site")
        .replace("s1,2.5", "x,s1")
        .replace("s2,4", "x,s2"),
        "&axes=neuroid,stimulus",
        r"neuroid=COLUMN \(site\)",
    ),
    "which column names the rows": (
        "category,image,n1\nx,a,1\nx,b,2\n",
        "",
        r"'category' or 'image'\? say stimulus=image",
    ),
    "a trial among neuroids": (
        "stimulus_id,n1,trial\na,1,1\nb,3,2\n",
        "",
        r"'trial' is no neuroid by its name.*neuroid=",
    ),
    "a category among neuroids": ("stimulus_id,category_id,n1\na,1,1\nb,3,2\n", "", r"'category_id' is no neuroid"),
    "a depth among stimuli": ("neuroid_id,depth,a\nn1,3,1\nn2,4,2\n", "&axes=neuroid,stimulus", r"'depth' says some"),
    "no header and ids": ("1,0.5\n2,0.1\n3,0.2\n", "", r"first column \(it has no header\) may be ids"),
    "an id that was lost": (WIDE.replace("b,3", "nan,3"), "", r"id 2 of 2 is empty \('nan'\)"),
    "neuroids of two animals": (
        "stimulus_id,animal,n1\na,PE,1\na,WE,3\n",
        "",
        r"column 'animal' changes within a stimulus.*several animals",
    ),
    "a column beside the ids without a name": ("stimulus_id,,n1\na,x,1\nb,y,3\n", "", r"beside the ids has no name"),
    "an empty row in the middle": (WIDE.replace("b,3", ",,\nb,3"), "", r"id 2 of 3 is empty"),
    "a neuroid column in wide form": (WIDE, "&neuroid=n1", r"neuroid= is of a table in long form"),
    "an option that CSV has not": (WIDE, "&variable=x", r"variable"),
    "ids named across": (WIDE, "&axes=neuroid,stimulus&stimulus=n1", r"stimuli are named by the header"),
    "repetitions of neuroids": (
        "neuroid_id,repetition,a,b\nn1,0,1,2\nn2,1,3,4\n",
        "&axes=neuroid,stimulus",
        r"neuroids have no 'repetition'",
    ),
    "no such region": ("neuroid_id,region,a,b\nn1,IT,1,2\n", "&axes=neuroid,stimulus&region=TI", r"region 'TI'"),
}
LONG_CASES: dict[str, tuple[str, str, str]] = {
    "no header": ("1,2,3\n4,5,6\n", "", r"has no header \('1', ...\)"),
    "no rows": ("stimulus_id,neuroid_id,rate\n", "", r"a header and no rows below it"),
    "a short row": (LONG + "b,1,n1\n", "", r"row 6 has 3 cells, the header has 5"),
    "a long row": (LONG + "b,1,n1,IT,1,2\n", "", r"row 6 has 6 cells, the header has 5"),
    "two columns of one name": (LONG.replace("region", "rate"), "", r"two columns are called 'rate'"),
    "a column without a name": (LONG.replace("region", ""), "", r"column 4 has no name"),
    "tabs": (LONG.replace(",", "\t"), "", r"parted by tabs"),
    "semicolons": (LONG.replace(",", ";"), "", r"parted by semicolons"),
    "no stimuli": (LONG.replace("stimulus_id", "image"), "", r"no column 'stimulus_id'.*say stimulus=NAME"),
    "no neuroids": (LONG.replace("neuroid_id", "cell"), "", r"no column 'neuroid_id'.*say neuroid=NAME"),
    "two names of the stimulus": (
        LONG.replace("region", "image_id"),
        "",
        r"columns 'stimulus_id' and 'image_id'; say stimulus=NAME",
    ),
    "no responses": (
        LONG.replace("1.5", "x").replace("2\n", "x\n").replace("3\n", "x\n").replace("4\n", "y\n").replace("Vx", "V4"),
        "",
        r"there are none of numbers",
    ),
    "a word among responses": (LONG.replace("1.5", "null"), "", r"column 'rate' holds 'null' in row 2"),
    "hexadecimal": (LONG.replace("1.5", "0x10"), "", r"column 'rate' holds '0x10' in row 2"),
    "digits of another script": (LONG.replace("1.5", "\u0663"), "", r"column 'rate' holds '\u0663' in row 2"),
    "a stimulus that was lost": (LONG.replace("b,0", "nan,0"), "", r"'stimulus_id' is empty in row 5 \('nan'\)"),
    "a neuroid that was lost": (LONG.replace("n2", "None"), "", r"'neuroid_id' is empty in row 3 \('None'\)"),
    "a region that changes with the trial": (
        LONG.replace("a,0,n1,IT,1.5\na,0,n2,V4,2\n", "a,0,n1,V4,1.5\na,0,n2,V4,2\n"),
        "",
        r"column 'region' changes within a neuroid",
    ),
    "a monkey that follows from the stimulus": (
        LONG.replace("region", "monkey").replace("V4", "IT").replace("b,0,n1,IT", "b,0,n1,PE"),
        "",
        r"'monkey' follows from the stimulus; say subject=monkey",
    ),
    "nearly the column of animals": (LONG.replace("region", "monkey"), "&subject=monkeys", r"near: 'monkey'"),
    "an animal that is empty": (
        LONG.replace("region", "monkey").replace("a,1,n1,IT", "a,1,n1,"),
        "",
        r"'monkey' is empty in row 4",
    ),
    "two columns of animals": (
        LONG.replace("region,rate", "animal,monkey,rate").replace("IT,", "PE,PE,").replace("V4,", "PE,WE,")
        + "b,0,n2,PE,WE,4\nb,0,n1,PE,WE,4\n",
        "",
        r"columns 'monkey' and 'animal' may both say the animal",
    ),
    "two columns of numbers": (
        LONG.replace("region", "depth").replace("IT", "1").replace("V4", "2"),
        "",
        r"2 columns of numbers \(depth, rate\).*say value=NAME",
    ),
    "no such value": (LONG, "&value=rats", r"no column 'rats' \(value=\); near: 'rate'"),
    "responses that are words": (LONG, "&value=region", r"column 'region' holds 'IT' in row 2, which is no number"),
    "a formula among responses": (
        LONG.replace("3\n", "=A1*2\n"),
        "&value=rate",
        r"'=A1\*2' in row 4, which is no number: it is a spreadsheet",
    ),
    "a decimal comma": (LONG.replace("1.5", '"1,5"'), "&value=rate", r"'1,5' in row 2, which is no number: decimals"),
    "infinite responses": (LONG.replace("1.5", "-inf"), "", r"column 'rate' holds infinity in row 2"),
    "a cell twice": (LONG + "a,1,n1,IT,9\n", "", r"row 6 is the second of stimulus 'a', repetition 1, neuroid 'n1'"),
    "a bin twice": (
        BINS.replace("_end,rate", "_end,repetition,rate").replace("50,1\n", "50,0,1\n").replace("50,100,2", "0,50,0,2")
        + "b,n1,50,100,0,3\n",
        "&value=rate",
        r"row 3 is the second of stimulus 'a', repetition 0, neuroid 'n1' in this time bin",
    ),
    "an empty stimulus": (LONG.replace("b,0", ",0"), "", r"'stimulus_id' is empty in row 5"),
    "an empty neuroid": (LONG.replace("n2", ""), "", r"'neuroid_id' is empty in row 3"),
    "an empty repetition": (LONG.replace("a,1,", "a,,"), "", r"'repetition' has empty cells"),
    "repetitions that are words": (LONG.replace("a,1,", "a,second,"), "", r"column 'repetition' holds 'second'"),
    "repetitions that are halves": (LONG.replace("a,1,", "a,0.5,"), "&value=rate", r"column 'repetition' holds '0.5'"),
    "a column that follows from nothing": (
        LONG.replace("n1,IT,3", "n1,V4,3"),
        "",
        r"column 'region' follows neither from the presentation nor from the neuroid",
    ),
    "one end of a bin": (
        BINS.replace("time_bin_end", "width"),
        "&value=rate",
        r"'time_bin_start' and none 'time_bin_end'",
    ),
    "a bin that ends before it starts": (BINS.replace("50,100", "100,50"), "", r"row 3 has a time bin of 100 to 50 ms"),
    "a bin in words": (
        BINS.replace("50,100", "50,late"),
        "",
        r"'time_bin_end' holds 'late' in row 3, which is no number: bins are said in ms",
    ),
    "an empty bin": (BINS.replace("50,100", "50,"), "", r"'time_bin_end' has empty cells"),
    "axes of a wide table": (LONG, "&axes=stimulus,neuroid", r"axes= is of a table in wide form"),
    "the first column of a wide table": (LONG, "&first=ids", r"first= is of a table in wide form"),
    "kind of RDMs": (LONG, "&kind=rdms", r"form= is of responses and behaviour"),
    "no such repetition": (LONG, "&repetition=repetitions", r"near: 'repetition'"),
}
TRIAL_CASES: dict[str, tuple[str, str, str]] = {
    "no choice in any trial": (TRIALS.replace("b,dog", "b,").replace("a,cat", "a,"), "", r"'choice' is empty through"),
    "times as choices": (
        TRIALS.replace("choice", "rt").replace("dog", "401").replace("a,cat", "a,402"),
        "&value=rt",
        r"'rt' holds numbers \(2 different ones in 2 trials\), as times",
    ),
    "measures as choices": (
        "stimulus_id,answer\na,1.5\nb,2.5\nc,3.25\n",
        "&value=answer",
        r"'answer' holds numbers \(3 different ones",
    ),
    "ratings of pairs": (
        "subject,img1,img2,similarity\nA,a,b,3\nA,a,c,2\n",
        "",
        r"which column says the stimulus\? .*'img1', 'img2'; .*choices_from_trials.*similarities_from_csv",
    ),
    "ratings whose stimulus is named": (
        "subject,img1,img2,similarity\nA,a,b,3\nA,a,c,2\n",
        "&stimulus=img1",
        r"one column of numbers, 'similarity' beside 'subject', 'img2'",
    ),
    "trials without their columns named": (
        "image,object,answer,rt\na,x,cat,5.5\nb,x,dog,7\n",
        "",
        r"columns of text are 'image', 'object', 'answer'; one row a trial: say stimulus=COLUMN&value=COLUMN",
    ),
    "trials with the row numbers of pandas": (
        ",image,answer,rt\n7,a,cat,5.5\n3,b,dog,7\n",
        "",
        r"which column says the st",
    ),
    "a time of reaction among choices": (
        "stimulus_id,cat,rt\na,1,412\nb,0,388\n",
        "",
        r"'rt' is no choice by its name",
    ),
    "probabilities that do not sum to 1": ("stimulus_id,cat,dog\na,0.2,0.2\nb,0.9,0.1\n", "", r"row 2 sums to 0.4"),
    "probabilities and counts": ("stimulus_id,cat,dog\na,0.2,0.8\nb,30,10\n", "", r"row 3 has 30 in column 'cat'"),
    "a row without probabilities": ("stimulus_id,cat,dog\na,,\nb,0.9,0.1\n", "", r"row 2 has no number for any choice"),
    "a row without choices": ("stimulus_id,cat,dog\na,3,4\nb,0,0\n", "", r"row 3 counts no choice at all"),
    "a truth that was lost": (TRIALS.replace("b,dog,cat", "b,dog,NA"), "", r"trial 2 of 2 has no truth"),
    "no truth in a trial": (TRIALS.replace("cat\nb,dog,cat", "cat\nb,dog,"), "", r"trial 2 of 2 has no truth"),
    "no such choice": (TRIALS, "&value=chosen", r"no column 'chosen' \(value=\)"),
    "no column of choices": (TRIALS.replace("choice", "answer"), "&form=long", r"no column 'choice'.*value=NAME"),
    "no stimulus": (TRIALS.replace("stimulus_id", "trial"), "", r"no column 'stimulus_id'"),
    "neuroids of behaviour": (TRIALS, "&neuroid=truth", r"behaviour has no neuroids"),
    "a choice that was not offered": (
        "stimulus_id,choice,truth,distractor\na,cow,cat,dog\n",
        "",
        r"trial 1 chose 'cow', which is neither its truth nor its distractor",
    ),
    "distractors without truth": (
        "stimulus_id,choice,distractor\na,cat,dog\n",
        "",
        r"rename the column that says what would have been right to 'truth'",
    ),
    "probabilities below 0": ("stimulus_id,cat,dog\na,1.5,-0.5\n", "", r"row 2 has -0.5 for choice 'dog'"),
    "two choices of one name": ("stimulus_id,cat,cat\na,1,0\n", "", r"choice 'cat' is there 2 times"),
    "choices without names": ("1,0\n0,1\n0.5,0.5\n", "", r"(does not name its choices|carries no stimulus ids)"),
    "repetitions that are words": (TRIALS.replace("truth", "repetition"), "", r"'repetition' holds 'cat'"),
}


def _refused(path: Path, text: str | bytes, query: str, told: str) -> None:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(NetphysError, match=told) as raised:
        load_neural(f"{path}?{query}")
    line = str(raised.value)
    assert "\n" not in line and path.name in line and len(line) < 600


@pytest.mark.parametrize("case", WIDE_CASES)
def test_wide(tmp_path, case):
    _refused(tmp_path / "table.csv", WIDE_CASES[case][0], f"kind=responses{WIDE_CASES[case][1]}", WIDE_CASES[case][2])


@pytest.mark.parametrize("case", LONG_CASES)
def test_long(tmp_path, case):
    _refused(tmp_path / "table.csv", LONG_CASES[case][0], f"form=long{LONG_CASES[case][1]}", LONG_CASES[case][2])


@pytest.mark.parametrize("case", TRIAL_CASES)
def test_behaviour(tmp_path, case):
    _refused(
        tmp_path / "table.csv", TRIAL_CASES[case][0], f"kind=behaviour{TRIAL_CASES[case][1]}", TRIAL_CASES[case][2]
    )


@pytest.mark.parametrize(
    ("text", "query"),
    [(WIDE, "kind=responses"), (LONG, "form=long"), (BINS, "form=long"), (TRIALS, "kind=behaviour")],
)
def test_unspoilt(tmp_path, text, query):
    (tmp_path / "table.csv").write_text(text)
    assert load_neural(f"{tmp_path / 'table.csv'}?{query}").stimulus_ids[0] == "a"


def test_a_table_with_another_suffix(tmp_path):
    (tmp_path / "table.tsv").write_text(WIDE)
    with pytest.raises(NetphysError, match=r"tables are read as CSV .*save it as CSV"):
        load_neural(f"{tmp_path / 'table.tsv'}?kind=responses")
