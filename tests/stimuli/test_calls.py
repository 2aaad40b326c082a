"""Calls in a line of text: what is read, what is refused, and that writing is undone by reading."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netphys.errors import AddressError, NetphysError, OptionError
from netphys.stimuli.calls import Call, parse_calls, to_text


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("grey", [Call("grey")]),
        (" grey ( ) ", [Call("grey")]),
        ("a(1)|b", [Call("a", (1,)), Call("b")]),
        ("f(-1, +2, .5, 3., 1e-3, -2E4)", [Call("f", (-1, 2, 0.5, 3.0, 0.001, -20000.0))]),
        ("f(word, true, False, none)", [Call("f", ("word", True, False, None))]),
        ("f('a b', \"c|d\", 'it\\'s')", [Call("f", ("a b", "c|d", "it's"))]),
        ("f((1, 2), (3,), ((x, 1), y))", [Call("f", ((1, 2), (3,), (("x", 1), "y")))]),
        ("f((1))", [Call("f", ((1,),))]),
        ("f(1, a=2, b=(3, 4),)", [Call("f", (1,), {"a": 2, "b": (3, 4)})]),
        ("f('true', a=\"none\")", [Call("f", ("true",), {"a": "none"})]),
        ("f(\n1\t)", [Call("f", (1,))]),
    ],
)
def test_what_is_read(text: str, calls: list[Call]) -> None:
    found = parse_calls(text)
    assert found == calls
    assert [type(value) for call in found for value in call.args] == [type(v) for call in calls for v in call.args]
    assert parse_calls(to_text(found)) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is empty; calls are wanted, as 'grey() | resize(256)'"),
        (" \n", "is empty; calls are wanted"),
        ("grey |", "'grey |' is not understood at its end: a name is wanted"),
        ("f(1", "at its end: ',' or ')' is wanted"),
        ("f(1 2)", "at character 5 ('2)'): ',' or ')' is wanted"),
        ("f(a=1, 2)", "at character 8 ('2)'): f takes values by position before those by name"),
        ("f(a=1, a=2)", "f is told a twice"),
        ("f(1=2)", "the name of an argument is wanted"),
        ("f('a'=2)", "the name of an argument is wanted"),
        ("f(,)", "a number, a word, true, false, none or a tuple is wanted"),
        ("f(())", "a number, a word"),
        ("f)", "at character 2 (')'): '|' or the end is wanted"),
        ("f() g()", "'|' or the end is wanted"),
        ("1(2)", "a name is wanted"),
        ("f(2x)", "a number, a word"),
        ("f(1.2.3)", "a number, a word"),
        ("f('a)", "a number, a word"),
        ("f(1e999)", "1e999 is too large a number"),
        (f"f({'9' * 41})", "a number has at most 40 characters"),
        ("f(" + "(" * 50 + "1" + ")" * 50 + ")", "tuples are at most 8 deep"),
        ("f(__import__('os').system('true'))", "',' or ')' is wanted"),
        ("f(lambda: 0)", "',' or ')' is wanted"),
        ("f(a, " * 3000, "is 15000 characters long; 10000 are read at most"),
        ("é()", "a name is wanted"),
    ],
)
def test_what_is_refused_in_one_line(text: str, said: str) -> None:
    for error in (OptionError, AddressError):
        with pytest.raises(error) as raised:
            parse_calls(text, error=error)
        assert said in str(raised.value) and "\n" not in str(raised.value) and len(str(raised.value)) < 300


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(tuple),
    max_leaves=4,
)
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("true", "false", "none")
)
CALLS = st.lists(
    st.builds(Call, NAMES, st.lists(VALUES, max_size=3).map(tuple), st.dictionaries(NAMES, VALUES, max_size=3)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(CALLS)
def test_reading_undoes_writing(calls: list[Call]) -> None:
    assert repr(parse_calls(to_text(calls))) == repr(calls)  # True is not 1 there


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(st.text(alphabet="fg(),=|.'\"\\ 19e-atrue\n", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_calls(text)
    except NetphysError as error:
        assert "\n" not in str(error)
    else:
        assert parse_calls(to_text(found)) == found


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1], (), object()])
def test_what_the_grammar_has_not_cannot_be_written(value: object) -> None:
    with pytest.raises(OptionError, match="cannot be written as an argument"):
        to_text([Call("f", (value,))])
