"""Public sets of neural data by name: where they are, whose they are, how they are cited; fetched when asked.

:func:`read_catalogue` reads what is known, :func:`fetch` brings a set here, ``load_neural("catalogue:NAME")``
reads it, :func:`citation` and :func:`bibtex` say whom to cite. Nothing of a set comes with the package.
"""

from __future__ import annotations

from netphys.neural.catalogue.citing import bibtex, citation
from netphys.neural.catalogue.entries import Catalogue, Entry, Paper, RemoteFile, read_catalogue
from netphys.neural.catalogue.fetching import data_folder, fetch, is_fetched
from netphys.neural.catalogue.loading import load_entry

__all__ = [
    "Catalogue",
    "Entry",
    "Paper",
    "RemoteFile",
    "bibtex",
    "citation",
    "data_folder",
    "fetch",
    "is_fetched",
    "load_entry",
    "read_catalogue",
]
