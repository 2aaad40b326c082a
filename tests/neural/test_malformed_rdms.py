"""RDMs that are none, ids that do not fit, options that contradict, rsatoolbox's files spoilt: one line each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from netphys.errors import NetphysError
from netphys.neural import load_neural

IDS = tuple("abcdef")
STACK = np.abs(np.subtract.outer(np.arange(6.0), np.arange(6.0)))[None] * np.arange(1.0, 4.0)[:, None, None]
PAIRS = STACK[:, *np.triu_indices(6, 1)]


def with_entries(*entries: tuple[tuple[int, ...], float], of: np.ndarray = STACK) -> np.ndarray:
    """A copy, some entries replaced."""
    out = of.copy()
    for at, value in entries:
        out[at] = value
    return out


NAN, INF = np.nan, np.inf
CONTENT: dict[str, tuple[np.ndarray, str]] = {
    "one subject asymmetric": (with_entries(((2, 4, 1), 5.0)), r"not symmetric: entries differ by up to 4"),
    "a triangle of zeros": (np.triu(STACK), r"not symmetric: entries differ"),
    "antisymmetric": (np.triu(STACK) - np.tril(STACK), r"not symmetric: entries differ by up to 30"),
    "NaN below the diagonal": (with_entries(((0, 4, 1), NAN)), r"has 1 dissimilarities that are NaN or infinite"),
    "a stimulus that is NaN": (
        with_entries(*(((1, 2, at), NAN) for at in range(6)), *(((1, at, 2), NAN) for at in range(6))),
        r"has 5 dissimilarities that are NaN or infinite; leave those stimuli out",
    ),
    "a subject that is NaN": (with_entries(((1,), NAN)), r"has 15 dissimilarities that are NaN or infinite"),
    "minus infinity": (with_entries(((0, 1, 2), -INF), ((0, 2, 1), -INF)), r"NaN or infinite"),
    "a diagonal of infinity": (with_entries(((0, 1, 1), INF)), r"has inf on its diagonal; an RDM has 0 \(or NaN\)"),
    "a negative diagonal": (with_entries(((2, 3, 3), -2.0)), r"has 2 on its diagonal"),
    "similarities of all subjects": (1 - STACK / 20, r"has 1 on its diagonal.*it looks like similarities"),
    "a stack of two stimuli": (np.zeros((3, 2, 2)), r"nothing that can be RDMs|RDM of 2 stimuli; at least 3"),
    "vectors of 16 pairs": (np.ones((3, 16)), r"nothing that can be RDMs; it holds: array \(3, 16\)"),
    "vectors of one pair": (np.ones((3, 1)), r"it holds|carries|has 3 stimuli"),
    "rows and columns of unlike stimuli": (np.ones((6, 5)), r"nothing that can be RDMs|is no RDM"),
    "a stack of (n, m)": (np.ones((3, 6, 5)), r"nothing that can be RDMs; it holds: array \(3, 6, 5\)"),
    "a cube": (np.ones((6, 6, 6)) - np.eye(6), r"may be \(subject, n, n\) or \(n, n, subject\); say stack="),
    "five axes": (np.stack([np.stack([STACK] * 2)] * 2), r"of shape \(2, 2, 3, 6, 6\) may be \(subject, n, n\) or"),
    "a vector NaN": (with_entries(((1, 3), NAN), of=PAIRS), r"has 1 dissimilarities that are NaN or infinite"),
    "a vector infinite": (with_entries(((1, 3), INF), of=PAIRS), r"has 1 dissimilarities that are NaN or infinite"),
}


@pytest.mark.parametrize("mistake", CONTENT)
def test_each_mistake_of_content_is_one_line(tmp_path: Path, mistake):
    value, told = CONTENT[mistake]
    np.save(tmp_path / "rdms.npy", value)
    _refused(tmp_path / "rdms.npy", "", told, IDS)


SAYS: dict[str, tuple[str, Any, str]] = {  # what the address says, the ids, the words of the line
    "no ids": ("", None, r"carries no stimulus ids; name the list that its 6 rows follow"),
    "ids too few": ("", IDS[:5], r"has 6 stimuli, but the given ids lists 5"),
    "ids too many": ("", (*IDS, "g"), r"has 6 stimuli, but the given ids lists 7"),
    "ids twice": ("", tuple("abcdea"), r"'a'.*every stimulus has an id of its own"),
    "ids in no file": ("", "absent.csv:file", r"there is no file absent\.csv"),
    "ids of no column": ("", "list.csv", r"is not FILE:COLUMN"),
    "an index of words": ("?index=first", IDS, r"index='?first"),
    "an index below 0": ("?index=-1", IDS, r"index -1 is not in 0\.\.2|index="),
    "an index beyond": ("?index=3", IDS, r"index 3 is not in 0\.\.2 on axis 0"),
    "a step of 0": ("?index=::0", IDS, r"index=.*slices START:STOP"),
    "a slice of nothing": ("?index=2:1", IDS, r"index= takes nothing on axis 0"),
    "an average of words": ("?average=mean", IDS, r"average='?mean"),
    "an axis below 0": ("?average=-1", IDS, r"average="),
    "an axis beyond": ("?average=3", IDS, r"average=3 is no axis left"),
    "an axis taken twice": ("?index=1&average=0", IDS, r"average=0 is no axis left"),
    "a stack of neither": ("?stack=middle", IDS, r"stack=.*one of first, last"),
    "a stack on the other side": ("?stack=last", IDS, r"is no RDM"),
    "subjects too few": ("?subject=a,b", IDS, r"gives 3 RDMs, subject= names 2"),
    "subjects twice": ("?subject=a,b,a", IDS, r"gives 3 RDMs, subject= names 2"),
    "an empty subject": ("?subject=a,,b", IDS, r"subject=.*without empty entries"),
    "one subject of an average": ("?average=0&subject=a,b,c", IDS, r"gives 1 RDM, subject= names 3"),
    "RDMs that are responses": ("?kind=responses&index=0", IDS, r"index=.* choose RDMs"),
    "responses that are RDMs": ("?kind=responses", IDS, r"array|responses"),
    "a kind of no name": ("?kind=rdm", IDS, r"kind=.*one of rdms, responses, behaviour; near: 'rdms'"),
    "a variable where there is one array": ("?variable=x", IDS, r"variable"),
    "an option of no name": ("?avarage=0", IDS, r"'avarage'.*'average'"),
    "an option twice": ("?index=0&index=1", IDS, r"index.*twice"),
    "an option without a value": ("?index", IDS, r"index"),
    "a window of RDMs": ("?window=0,100", IDS, r"window= is of responses"),
    "a condition on trials of RDMs": ("?where=repetition==0", IDS, r"where= is of responses"),
    "axes of RDMs": ("?axes=stimulus,neuroid", IDS, r"axes= is of responses, .* say kind=responses"),
    "a session of RDMs": ("?session=monday", IDS, r"session= is of responses"),
    "bins of RDMs": ("?bins=0:100:10", IDS, r"bins= is of responses"),
    "a unit of RDMs": ("?unit=count", IDS, r"unit= is of responses"),
}


@pytest.mark.parametrize("mistake", SAYS)
def test_each_mistake_of_the_address_is_one_line(tmp_path: Path, mistake):
    query, ids, told = SAYS[mistake]
    np.save(tmp_path / "rdms.npy", STACK)
    # a list of ids that is wrong by itself is named instead of the file
    _refused(tmp_path / "rdms.npy", query, told, ids, named=not isinstance(ids, str) and mistake != "ids twice")


def _set(name: str, value: Any) -> Callable[[h5py.File], None]:
    def spoil(file: h5py.File) -> None:
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value

    return spoil


def _list(group: str, name: str, values: list[str]) -> Callable[[h5py.File], None]:
    def spoil(file: h5py.File) -> None:
        held = file[group]
        for each in (held, held.attrs):
            if name in each:
                del each[name]
        held.create_dataset(name, data=np.array(values, dtype=object), dtype=h5py.string_dtype())

    return spoil


TOOLBOX: dict[str, tuple[Callable[[h5py.File], None], str, str]] = {
    "NaN": (_set("dissimilarities", with_entries(((0, 3), NAN), of=PAIRS)), "", r"NaN or infinite"),
    "16 pairs": (_set("dissimilarities", np.ones((3, 16))), "", r"shape \(3, 16\) is no \(subject, pair\)"),
    "no RDM": (_set("dissimilarities", np.ones((0, 15))), "", r"is no \(subject, pair\)|empty"),
    "matrices": (_set("dissimilarities", STACK), "", r"is no \(subject, pair\)"),
    "text": (_set("dissimilarities", np.full((3, 15), b"1")), "", r"dissimilarities"),
    "complex": (_set("dissimilarities", PAIRS.astype(complex)), "", r"dissimilarities"),
    "ids too few": (_list("pattern_descriptors", "stimulus_id", list("abcde")), "", r"has 6 stimuli but carries 5"),
    "ids twice": (_list("pattern_descriptors", "stimulus_id", list("abcdee")), "", r"'e'.*an id of its own"),
    "another subject": (lambda file: None, "?subject=zoo", r"has no RDM of subject 'zoo'; near: 'zoe'"),
    "another region": (lambda file: None, "?region=ITT", r"has no RDM of region 'ITT'; near: 'IT'"),
    "an index beyond": (lambda file: None, "?index=7", r"index 7 is not in 0\.\.2"),
}


@pytest.mark.parametrize("mistake", TOOLBOX)
def test_each_mistake_of_a_file_of_rsatoolbox_is_one_line(tmp_path: Path, mistake):
    spoil, query, told = TOOLBOX[mistake]
    path = _toolbox(tmp_path)
    with h5py.File(path, "a") as file:
        spoil(file)
    _refused(path, query, told, None)


def test_ids_that_contradict_the_file(tmp_path: Path):
    _refused(_toolbox(tmp_path), "", r"carries its own stimulus ids \('a', \.\.\.\), and ids= names others", IDS[::-1])


def test_unspoilt_they_load(tmp_path: Path):
    """Control: what is spoilt above is read as it was."""
    np.save(tmp_path / "rdms.npy", STACK)
    np.testing.assert_array_equal(load_neural(tmp_path / "rdms.npy", ids=IDS).dissimilarities, PAIRS)
    toolbox = load_neural(f"{_toolbox(tmp_path)}?subject=bob,ann&region=IT")
    np.testing.assert_array_equal(toolbox.dissimilarities, PAIRS[[1, 0]])
    assert toolbox.stimulus_ids == IDS


def _toolbox(folder: Path) -> Path:
    from rsatoolbox.rdm import RDMs

    described = {"subject": ["ann", "bob", "zoe"], "region": ["IT"] * 3}
    rdms = RDMs(PAIRS, rdm_descriptors=described, pattern_descriptors={"stimulus_id": list(IDS)})
    rdms.save(str(folder / "toolbox.h5"), overwrite=True)
    return folder / "toolbox.h5"


def _refused(path: Path, query: str, told: str, ids: Any, *, named: bool = True) -> None:
    with pytest.raises(NetphysError, match=told) as raised:
        load_neural(f"{path}{query}", ids=ids)
    assert "\n" not in str(raised.value)
    if named:
        assert str(path) in str(raised.value)
