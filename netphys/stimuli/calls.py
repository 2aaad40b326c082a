"""Calls in a line of text: ``grey() | resize(256) | luminance(mean=0.5, sd=0.2)``.

The grammar, of treatments and of the values of addresses (``?variant=phase_scramble(0.5)``); nothing is evaluated::

    calls   = call { "|" call }
    call    = name [ "(" [ value { "," value } ] [ name "=" value { "," name "=" value } ] ")" ]
    value   = number | word | quoted | "true" | "false" | "none" | "(" value { "," value } [ "," ] ")"

A word is letters, digits and ``_`` (``luma``), not beginning with a digit; anything else stands in quotation marks.
A name alone is a call without arguments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from netphys.errors import NetphysError, OptionError

__all__ = ["Call", "parse_calls", "to_text"]

_LONGEST = 10_000  # characters; a treatment has some hundred
_DEEPEST = 8  # tuples in tuples
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_TOKEN = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![A-Za-z0-9_.]))|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<quoted>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')|(?P<mark>[|(),=]))"
)
_WORDS = {"true": True, "false": False, "none": None, "True": True, "False": False, "None": None}


@dataclass(frozen=True)
class Call:
    """A name with arguments.

    Parameters
    ----------
    name : str
        What is called.
    args : tuple
        Values by position: int, float, str, bool, None, and tuples of them.
    kwargs : dict
        Values by name.
    """

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def parse_calls(text: str, *, error: type[NetphysError] = OptionError) -> list[Call]:
    """Parse calls.

    Parameters
    ----------
    text : str
        ``"name(value, name=value) | name()"``; not empty.
    error : type of NetphysError
        What is raised; ``AddressError`` where the text is part of an address.

    Raises
    ------
    NetphysError
        In one line: the text, where in it, and what was wanted there.

    Examples
    --------
    >>> parse_calls("grey | resize((64, 96), interpolation=bicubic)")[1]
    Call(name='resize', args=((64, 96),), kwargs={'interpolation': 'bicubic'})
    >>> parse_calls("resize(256")
    Traceback (most recent call last):
        ...
    netphys.errors.OptionError: 'resize(256' is not understood at its end: ',' or ')' is wanted
    """
    return _Parser(str(text), error).calls()


def to_text(calls: Sequence[Call]) -> str:
    """Write calls as text that :func:`parse_calls` reads back.

    Raises
    ------
    OptionError
        If a value is none that the grammar has (``nan``, a list).

    Examples
    --------
    >>> to_text([Call("grey"), Call("resize", (256,), {"interpolation": "bicubic"})])
    'grey() | resize(256, interpolation=bicubic)'
    """
    return " | ".join(f"{each.name}({', '.join(_arguments(each))})" for each in calls)


def _arguments(call: Call) -> Iterator[str]:
    yield from (_written(value) for value in call.args)
    yield from (f"{name}={_written(value)}" for name, value in call.kwargs.items())


def _written(value: Any) -> str:
    """Write one value."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return repr(value)
    if isinstance(value, str):
        if _WORD.match(value) and value not in _WORDS:
            return value
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple) and value:
        inner = ", ".join(_written(each) for each in value)
        return f"({inner}{',' * (len(value) == 1)})"
    raise OptionError(f"{value!r} cannot be written as an argument: a number, a word, true, false, none or a tuple can")


class _Parser:
    """One pass over the tokens, by recursive descent."""

    def __init__(self, text: str, error: type[NetphysError]) -> None:
        self._text, self._error = text, error
        self._at = 0  # where the token in hand begins
        self._next = 0
        if len(text) > _LONGEST:
            raise error(f"{text[:40]!r}... is {len(text)} characters long; {_LONGEST} are read at most")
        if not text.strip():
            raise error(f"{text[:40]!r} is empty; calls are wanted, as 'grey() | resize(256)'")
        self._advance()

    def calls(self) -> list[Call]:
        found = [self._call()]
        while self._token == "|":
            self._advance()
            found.append(self._call())
        if self._kind != "end":
            self._fail("'|' or the end is wanted")
        return found

    def _call(self) -> Call:
        if self._kind != "word":
            self._fail("a name is wanted")
        name = self._take()
        if self._token != "(":
            return Call(name)
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        self._advance()
        while self._token != ")":
            self._argument(name, args, kwargs)
            if self._token == ",":
                self._advance()
            elif self._token != ")":
                self._fail("',' or ')' is wanted")
        self._advance()
        return Call(name, tuple(args), kwargs)

    def _argument(self, call: str, args: list[Any], kwargs: dict[str, Any]) -> None:
        """Read one argument, by position or by name."""
        at, is_word, word = self._at, self._kind == "word", self._token
        value = self._value(0)
        if self._token != "=":
            if kwargs:
                self._fail(f"{call} takes values by position before those by name", at)
            args.append(value)
            return
        if not is_word:
            self._fail("the name of an argument is wanted", at)
        if word in kwargs:
            self._fail(f"{call} is told {word} twice", at)
        self._advance()
        kwargs[word] = self._value(0)

    def _value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            self._fail(f"tuples are at most {_DEEPEST} deep")
        if self._kind == "number":
            return self._number(self._take())
        if self._kind == "word":
            word = self._take()
            return _WORDS.get(word, word)
        if self._kind == "quoted":
            return re.sub(r"\\(.)", r"\1", self._take()[1:-1], flags=re.DOTALL)
        if self._token != "(":
            self._fail("a number, a word, true, false, none or a tuple is wanted")
        return self._tuple(depth)

    def _tuple(self, depth: int) -> tuple[Any, ...]:
        self._advance()
        values = [self._value(depth + 1)]
        while self._token == ",":
            self._advance()
            if self._token == ")":
                break
            values.append(self._value(depth + 1))
        if self._token != ")":
            self._fail("',' or ')' is wanted")
        self._advance()
        return tuple(values)

    def _number(self, written: str) -> int | float:
        if len(written) > 40:
            self._fail("a number has at most 40 characters", self._at)
        value = float(written) if re.search(r"[.eE]", written) else int(written)
        if isinstance(value, float) and not math.isfinite(value):
            self._fail(f"{written} is too large a number", self._at)
        return value

    def _take(self) -> str:
        token = self._token
        self._advance()
        return token

    def _advance(self) -> None:
        """Take the next token in hand."""
        found = _TOKEN.match(self._text, self._next)
        if found is None:
            rest = self._text[self._next :]
            self._at = self._next + len(rest) - len(rest.lstrip())
            self._kind, self._token = ("end", "") if not rest.strip() else ("odd", rest.strip()[0])
            return
        self._kind = str(found.lastgroup)
        self._token, self._at, self._next = found[self._kind], found.start(self._kind), found.end()

    def _fail(self, wanted: str, at: int | None = None) -> NoReturn:
        at = self._at if at is None else at
        shown = self._text if len(self._text) <= 120 else self._text[:117] + "..."
        where = f"character {at + 1} ({self._text[at : at + 12]!r})" if at < len(self._text.rstrip()) else "its end"
        raise self._error(f"{shown!r} is not understood at {where}: {wanted}")
