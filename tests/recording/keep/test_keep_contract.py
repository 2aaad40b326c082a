"""The text that names what is kept."""

from __future__ import annotations

import pytest

from netphys.errors import NetphysError
from netphys.recording.keep import KEEPS, Keep, Measuring, as_keep


@pytest.mark.parametrize(
    "text, again",
    [
        ("all", "all"),
        ("centre", "centre"),
        ("window?size=3", "window?size=3"),
        ("window?size=3x3", "window?size=3"),
        ("window?size=3x5", "window?size=3x5"),
        ("window?x=0:3&y=2:5", "window?y=2:5&x=0:3"),
        ("window?x=1:2", "window?x=1:2"),
        ("projection?k=1000", "projection?k=1000&s=sqrt&seed=0"),
        ("projection?s=3&k=7&seed=4", "projection?k=7&s=3&seed=4"),
        ("projection?k=7&s=2.5", "projection?k=7&s=2.5&seed=0"),
        ("projection?eps=0.1&n=1000", "projection?k=5920&s=sqrt&seed=0"),
    ],
)
def test_an_address_makes_the_same_again(text: str, again: str) -> None:
    keep = as_keep(text)
    assert isinstance(keep, Keep) and keep.address == again
    assert as_keep(keep.address).address == again
    assert as_keep(keep) is keep


def test_only_what_measures_is_told_of_batches() -> None:
    assert isinstance(as_keep("projection?k=3"), Measuring)
    assert not isinstance(as_keep("mean"), Measuring) and not isinstance(as_keep("window?size=3"), Measuring)


@pytest.mark.parametrize(
    "text, said",
    [
        ("projektion?k=3", "near: 'projection'"),
        ("windows?size=3", "near: 'window'"),
        ("xyz", "keep='xyz' is not known; there are: 'all', 'mean'"),
        ("mean?k=3", "takes no option 'k'"),
        ("window", "a window has a size in the middle, or rows and columns; say size=3"),
        ("window?size=3&y=0:2", "a window has a size in the middle, or rows and columns"),
        ("window?siez=3", "takes no option 'siez'; near: 'size'"),
        ("window?size=0", "size=0 is not understood (a side, or rows x columns: 3 or 3x5)"),
        ("window?size=3x", "size=3x is not understood"),
        ("window?y=5:2", "y=5:2 is not understood (from a position to before a later one: 2:5)"),
        ("window?y=-1:2", "y=-1:2 is not understood"),
        ("projection", "needs k=, how many numbers"),
        ("projection?K=3", "takes no option 'K'; near: 'k'"),
        ("projection?k=0", "k=0 is not understood (at least 1)"),
        ("projection?eps=0.1", "a projection with eps=0.1 needs n="),
        ("projection?eps=1.5&n=10", "eps=1.5: between 0 and 1"),
        ("projection?eps=0.1&n=10&k=5", "k= or eps=, not both"),
        ("projection?n=10&k=5", "n= only with eps="),
        ("projection?k=5&s=0.5", "s=0.5: 'sqrt' or a number from 1 to 65536"),
        ("projection?k=5&s=root", "s=root is not understood (a number is wanted)"),
        ("pca?k=5", "a pca needs k= and fit="),
        ("pca?fit=rec.h5", "a pca needs k= and fit="),
        ("pca?k=5&fit=none.h5", "no recording at none.h5"),
        ("pca?k=5&fit=none.h5&same=yes", "same=yes is not understood (true or false)"),
        ("pca?k=5&fitt=none.h5", "takes no option 'fitt'; near: 'fit'"),
    ],
)
def test_a_mistake_is_one_line(text: str, said: str) -> None:
    with pytest.raises(NetphysError) as caught:
        as_keep(text)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_all_that_can_be_kept_is_listed() -> None:
    assert KEEPS[:5] == ("all", "mean", "max", "centre", "pooled")
    assert {"window", "projection", "pca"} < set(KEEPS)
