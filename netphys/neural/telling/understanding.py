"""What netphys understood of neural data, how good they are, and what would have to be said where that is unclear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.addresses import split_address
from netphys.errors import FileError, MatchError, NeuralDataError
from netphys.neural.assemblies import first_presentations
from netphys.neural.data import NeuralData
from netphys.neural.files.options import SUFFIXES
from netphys.neural.loading import load_neural
from netphys.neural.telling.describing import describe_file, growing
from netphys.neural.telling.facts import assembly_facts, held_facts, late_bins, rdm_facts, reliability_words, title_of
from netphys.neural.telling.suggesting import suggest

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes

    from netphys.neural.quality.reliability import Reliability

__all__ = ["Understanding", "understand"]


@dataclass(frozen=True, repr=False)
class Understanding:
    """Neural data as they were read, or why they could not be, and what is left to say.

    Attributes
    ----------
    address : str
        What was asked for.
    data : NeuralData, or None
        The data; None where the address does not say enough.
    problem : str
        Why there are none, in one line; ``""`` where there are.
    held : dict
        What the file holds (:func:`netphys.neural.describe_file`); empty where the data were read.
    suggestions : tuple of str
        Addresses that would read what the file holds, where it can be told.
    unsaid : tuple of str
        What neither the file nor the address says, with the option that would.
    """

    address: str
    data: NeuralData | None
    problem: str = ""
    held: dict[str, Any] = field(default_factory=dict)
    suggestions: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()

    @cached_property
    def reliability(self) -> Reliability | None:
        """Reliability of each neuroid; None of RDMs, of behaviour, and where too few stimuli were repeated."""
        return self._measured[0]

    @cached_property
    def _measured(self) -> tuple[Reliability | None, str]:
        """The reliability, or why there is none."""
        if self.data is None or self.data.kind != "assembly":
            return None, ""
        if self._repeats.max() < 2:
            return None, "no stimulus was shown twice"
        from netphys.neural.quality.reliability import reliability

        try:
            return reliability(self._one_value()), ""
        except NeuralDataError as error:
            return None, str(error)

    @property
    def facts(self) -> dict[str, str]:
        """What was understood, one fact a key, in words."""
        if self.data is None:
            return held_facts(self.held)
        if self.data.assembly is None:
            return rdm_facts(self.data)
        facts = assembly_facts(self.data, self.data.assembly, self._repeats)
        if self.reliability is not None:
            facts["reliability"] = f"{self.reliability}; {reliability_words(self.data.assembly, self.reliability)}"
        elif self.data.kind == "assembly":
            facts["reliability"] = f"unknown: {self._measured[1]}"
        return facts

    def to_frame(self) -> pd.DataFrame:
        """One row a neuroid with its coordinates and its reliability; of RDMs one row a subject.

        Raises
        ------
        NeuralDataError
            Where the data could not be read.
        """
        import pandas as pd

        if self.data is None:
            raise NeuralDataError(self.problem)
        if self.data.assembly is None:
            from netphys.neural.telling.drawing import agreement

            return pd.DataFrame({"subject": self.data.subjects, "r_others": agreement(self.data)})
        if self.reliability is not None:
            return self.reliability.to_frame()
        dim = str(self.data.assembly.dims[1])
        own = {str(key): each.values for key, each in self.data.assembly.coords.items() if each.dims == (dim,)}
        return pd.DataFrame(own)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the first panel of :meth:`panels` on one Axes."""
        from netphys.neural.telling.drawing import new_axes

        ax = ax if ax is not None else new_axes()
        _, draw = self.panels()[0]
        return draw(ax)

    def panels(self) -> list[tuple[str, Any]]:
        """Panels that show the data: a title, and a function that draws it on an Axes."""
        from netphys.neural.telling.drawing import panels

        if self.data is None:
            raise NeuralDataError(f"there is nothing to draw: {self.problem}")
        return panels(self.data, self.reliability)

    @property
    def title(self) -> str:
        """What a figure is of, in one line: the name, the region, the window of time, how many there are."""
        if self.data is None:
            return self.address
        return title_of(self.data)

    @cached_property
    def _repeats(self) -> np.ndarray:
        """Presentations of each stimulus."""
        assert self.data is not None and self.data.assembly is not None
        ids, codes = first_presentations(self.data.assembly["stimulus_id"].values)
        return np.bincount(codes, minlength=len(ids))

    def _one_value(self) -> xr.DataArray:
        """The assembly without time: all bins after onset, or all there are, as one value a presentation."""
        assert self.data is not None and self.data.assembly is not None
        assembly = self.data.assembly
        return late_bins(assembly).mean("time_bin", keep_attrs=True) if "time_bin" in assembly.dims else assembly

    def __repr__(self) -> str:
        if self.data is None:
            return f"Understanding({self.address}: {self.problem})"
        return f"Understanding({self.data!r})"


def understand(
    address: str | Path, *, ids: str | Sequence[str] | None = None, stimuli: Any = None, seed: int = 0
) -> Understanding:
    """Read neural data and say what was understood; where an address is unclear, say what would make it clear.

    Parameters
    ----------
    address : str
        As :func:`netphys.neural.load_neural` takes it.
    ids : str or sequence of str, optional
        The list that the rows of a file without ids follow.
    stimuli : StimulusSet, optional
        What a simulated cortex is shown.
    seed : int
        The seed of a simulated cortex.

    Returns
    -------
    Understanding

    Raises
    ------
    NetphysError
        If the file is absent, damaged or of a kind that is not read: nothing that is said would mend that.
    """
    body, _ = split_address(str(address))
    try:
        data = load_neural(address, ids=ids, stimuli=stimuli, seed=seed)
    except (NeuralDataError, MatchError) as error:
        held = _described(Path(body))
        if held is None:
            raise
        suggestions = suggest(str(address), held, ids=ids, problem=str(error))
        return Understanding(str(address), None, problem=str(error), held=held, suggestions=suggestions)
    return Understanding(str(address), data, unsaid=tuple(_unsaid(data, body)))


def _described(path: Path) -> dict[str, Any] | None:
    """What a file holds; None where there is none, or it cannot be read either."""
    if not path.exists():
        return None
    try:
        held = describe_file(path)
        return held if held is None else {**held, "grows": growing(path, held)}
    except FileError:
        return None


def _unsaid(data: NeuralData, body: str) -> list[str]:
    """What is not known of data that were read, and the option that would say it."""
    taken = SUFFIXES.get(Path(body).suffix.lower(), ()) if data.truth is None else ()
    if data.kind == "behaviour":
        known = data.subjects or "subject" in _coordinates(data)
        return [] if known else ["who chose: subject=NAME"]
    said = []
    if not data.region:
        said.append("the region: region=IT")
    if not data.subjects or (data.assembly is None and data.subjects[0] == "subject1"):
        said.append("the animal or person: subject=NAME")
    if data.assembly is None:
        return said
    if "unit" not in data.assembly.attrs and data.assembly.dtype.kind in "iu":
        said.append("whether these whole numbers are spikes: values=count")
    if not {"time_bin", "time_bin_start"} & _coordinates(data):
        how = ": time=START:STOP:WIDTH" if "time" in taken else ""
        said.append(f"the window of time that a response is of{how}")
    return said


def _coordinates(data: NeuralData) -> set[str]:
    """Names of dims and coordinates."""
    assert data.assembly is not None
    return {*map(str, data.assembly.dims), *map(str, data.assembly.coords)}
