"""Whom to cite for a set: as a sentence, and as BibTeX."""

from __future__ import annotations

import re

from netphys.neural.catalogue.entries import Entry, Paper

__all__ = ["bibtex", "citation"]

_SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
}  # fmt: skip


def citation(entry: Entry) -> str:
    """Cite a set as references are written, one line a paper.

    Examples
    --------
    >>> from netphys.neural.catalogue.entries import read_catalogue
    >>> print(citation(read_catalogue()["freemanziemba2013"])[:72])
    Freeman J, Ziemba CM, Heeger DJ, Simoncelli EP, Movshon JA (2013). A fun
    """
    return "\n".join(_sentence(paper) for paper in entry.papers)


def bibtex(entry: Entry) -> str:
    """Cite a set in BibTeX: the set's name is the key, ``NAME-2`` that of its second paper."""
    keys = [entry.name if at == 0 else f"{entry.name}-{at + 1}" for at in range(len(entry.papers))]
    return "\n\n".join(_record(key, paper) for key, paper in zip(keys, entry.papers))


def _sentence(paper: Paper) -> str:
    authors = ", ".join(_short(each) for each in paper.authors)
    number = f"({paper.number})" if paper.number else ""
    volume = f" {paper.volume}{number}" if paper.volume else ""
    pages = f":{paper.pages}" if paper.pages else ""
    home = paper.journal or paper.publisher
    place = f" {home}{volume}{pages}." if home else ""
    doi = f" https://doi.org/{paper.doi}" if paper.doi else ""
    return f"{authors} ({paper.year}). {paper.title.rstrip('.')}.{place}{doi}"


def _short(author: str) -> str:
    """``Family, Given Names`` to ``Family GN``."""
    if author == "others":  # BibTeX's word
        return "et al."
    family, _, given = author.partition(", ")
    initials = "".join(word[0] for word in re.split(r"[\s.-]+", given) if word)
    return f"{family} {initials}".rstrip()


def _record(key: str, paper: Paper) -> str:
    fields = {
        "author": " and ".join(_escaped(each) for each in paper.authors),
        "title": f"{{{_escaped(paper.title)}}}",  # a second pair keeps its capitals
        "journal": _escaped(paper.journal),
        "volume": paper.volume,
        "number": paper.number,
        "pages": paper.pages.replace("-", "--"),
        "year": str(paper.year),
        "publisher": _escaped(paper.publisher),
        "doi": paper.doi,
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value and value != "{}"]
    return "\n".join([f"@{paper.kind}{{{key},", *lines, "}"])


def _escaped(text: str) -> str:
    """Escape what TeX would take for a command."""
    return "".join(_SPECIAL.get(character, character) for character in text)
