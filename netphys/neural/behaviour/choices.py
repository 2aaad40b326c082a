"""Object-level and image-level signatures of choices: which objects, and which images, are hard.

Six signatures of one behaviour, all d' = Z(hit rate) - Z(false alarm rate) (Rajalingham et al. 2018, table 1): o1, of
each object against all others; o2, of each object against each other; i1 and i2, the same of each image; i1n and i2n,
less the mean over the images of the same object (and distractor), which leaves what images alone explain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import OptionError, near
from netphys.neural.behaviour.dprime import CAP, KINDS, Correction, Kind, Recipe, Rule, sensitivity
from netphys.neural.behaviour.trials import Task, observed, pair_trials

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from jaxtyping import Float
    from matplotlib.axes import Axes

    from netphys.neural.data import NeuralData

__all__ = ["Signature", "i1", "i1n", "i2", "i2n", "o1", "o2", "require_kind", "signature"]


@dataclass(frozen=True, repr=False, eq=False)
class Signature:
    """One signature of a behaviour.

    Attributes
    ----------
    kind : {"o1", "o2", "i1", "i1n", "i2", "i2n"}
        Which.
    values : float64
        d': ``o1`` (choice,), ``o2`` (choice, choice), ``i1`` and ``i1n`` (stimulus,), ``i2`` and ``i2n`` (stimulus,
        choice). NaN at an object against itself, and where there was no trial.
    stimulus_ids : tuple of str
        The stimuli, in the order of their first presentation.
    objects : tuple of str
        What each stimulus shows.
    choices : tuple of str
        The objects that could be chosen.
    recipe : Recipe
        How rates became d'.
    """

    kind: Kind
    values: Float[np.ndarray, ...]
    stimulus_ids: tuple[str, ...]
    objects: tuple[str, ...]
    choices: tuple[str, ...]
    recipe: Recipe

    def to_frame(self) -> pd.DataFrame:
        """Return one row a value: stimulus_id (of images), object, distractor (of pairs), dprime."""
        import pandas as pd

        images = self.kind[0] == "i"
        objects = self.objects if images else self.choices
        n = len(self.choices) if self.values.ndim == 2 else 1
        columns: dict[str, Any] = {"stimulus_id": np.repeat(np.array(self.stimulus_ids), n)} if images else {}
        columns["object"] = np.repeat(np.array(objects), n)
        if self.values.ndim == 2:
            columns["distractor"] = np.tile(np.array(self.choices), len(objects))
        return pd.DataFrame({**columns, "dprime": self.values.reshape(-1)})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw it: a map of pairs, or the values in rising order; images grouped by their object."""
        from netphys.neural.behaviour.drawing import draw_signature

        return draw_signature(self, ax)

    def __repr__(self) -> str:
        there = self.values[np.isfinite(self.values)]
        if not len(there):
            return f"Signature({self.kind}: no value; there are no trials of these pairs)"
        what = f"{len(self.stimulus_ids)} images" if self.kind[0] == "i" else f"{len(self.choices)} objects"
        against = f" x {len(self.choices)} distractors" if self.values.ndim == 2 else ""
        capped = float((np.abs(there) >= self.recipe.cap).mean())
        limit = f", {capped:.0%} at the limit of {self.recipe.cap:g}" if capped and self.kind[-1] != "n" else ""
        middle = f"spread (SD) {there.std():.2f}" if self.kind.endswith("n") else f"median {np.median(there):.2f}"
        return f"Signature({self.kind}: d' of {what}{against}, {middle}{limit}; rule {self.recipe.rule})"


def signature(
    behaviour: NeuralData | xr.DataArray,
    kind: Kind,
    *,
    truth: str | Mapping[str, str] | None = None,
    rule: Rule = "paper",
    correction: Correction = "cap",
    cap: float = CAP,
    task: Task = "pairs",
) -> Signature:
    """Compute a signature of choices, of a subject, a pool of subjects, or a network.

    Parameters
    ----------
    behaviour : NeuralData of kind "behaviour", or xarray.DataArray (presentation, choice)
        Probabilities, or 1 at the choice made and NaN at choices not offered. All presentations are pooled.
    kind : {"o1", "o2", "i1", "i1n", "i2", "i2n"}
        Which signature.
    truth : str or mapping, optional
        The coordinate of what would have been right, or ``{stimulus_id: object}``; default ``truth``, ``object_name``.
    rule : {"paper", "brainscore"}
        Over what false alarm rates are taken; see Notes.
    correction : {"cap", "loglinear"}
        Rates of 0 and 1: ``"cap"`` limits their infinite d' to the cap, whatever the number of trials (as published);
        ``"loglinear"`` takes (hits + 0.5) / (trials + 1) for every rate and needs choices that were made.
    cap : float
        The limit of d'; 5 as in Brain-Score.
    task : {"pairs", "all"}
        ``"pairs"``: choices among more than two are read as binary tasks, p(object) / (p(object) + p(other)), so that
        they compare with tasks of two choices. ``"all"``, only for o1, i1 and i1n: one choice among all.

    Returns
    -------
    Signature

    Raises
    ------
    NeuralDataError
        If `behaviour` is no behaviour.
    OptionError
        If an option has no such value, or does not go with another.

    Notes
    -----
    With HR(s, d) the share of binary trials of image s against distractor d on which its object o(s) was chosen::

        i2(s, d) = Z(HR(s, d)) - Z(FAR(o(s), d))       FAR(o, d): images of d that were called o, of those that could be
        i1(s)    = Z(HR(s))    - Z(FAR(o(s)))          over all d, images of all other objects
        o2(o, d) = Z(HR(o, d)) - Z(FAR(o, d))          o2 is symmetric
        o1(o)    = Z(HR(o))    - Z(FAR(o))
        i2n(s, d) = i2(s, d) - mean over images t with o(t) = o(s) of i2(t, d);   i1n the same of i1

    ``rule="paper"`` takes each as a proportion of trials. ``rule="brainscore"`` takes FAR(o, d) as the mean over images
    of d of their rates, and i1, o1 as the mean over d of the limited i2, o2. The two are equal for i2 where every image
    has as many trials. Where both rates are 0 or both 1 d' is 0.

    References
    ----------
    Rajalingham, Issa, Bashivan, Kar, Schmidt & DiCarlo (2018), Journal of Neuroscience 38:7255,
    doi:10.1523/JNEUROSCI.0388-18.2018. Hautus (1995), Behavior Research Methods 27:46, doi:10.3758/BF03203619.
    Reading choices among many as binary: Luce (1959), Individual Choice Behavior.

    Examples
    --------
    >>> import pandas as pd
    >>> from netphys.neural.behaviour.trials import choices_from_trials
    >>> trials = pd.DataFrame({"stimulus_id": ["a", "b"] * 4, "truth": ["cat", "dog"] * 4,
    ...                        "choice": ["cat", "dog", "cat", "dog", "cat", "dog", "dog", "cat"]})
    >>> o2(choices_from_trials(trials)).values.round(3).tolist()  # HR 3/4, FAR 1/4: 2 Z(.75)
    [[nan, 1.349], [1.349, nan]]
    """
    require_kind(kind)
    recipe = Recipe(rule, correction, cap)
    seen = observed(behaviour, truth)
    if task == "all" and (kind not in ("o1", "i1", "i1n") or rule == "brainscore"):
        raise OptionError(f"task='all' is one choice among all: o1, i1, i1n by rule='paper', not {kind} by {rule!r}")
    pairs = pair_trials(seen, task)
    if correction == "loglinear" and not pairs.counted:
        raise OptionError("correction='loglinear' counts trials; probabilities have none, use 'cap'")
    objects = tuple(seen.choices[at] for at in seen.objects)
    return Signature(kind, sensitivity(pairs, kind, recipe), seen.stimulus_ids, objects, seen.choices, recipe)


def require_kind(kind: str) -> None:
    """Refuse what is no signature."""
    if kind not in KINDS:
        raise OptionError(f"there is no signature {kind!r}{near(str(kind), KINDS)}")


def o1(behaviour: NeuralData | xr.DataArray, **options: Any) -> Signature:
    """d' of each object against all others; options as :func:`signature`."""
    return signature(behaviour, "o1", **options)


def o2(behaviour: NeuralData | xr.DataArray, **options: Any) -> Signature:
    """d' of each object against each other; options as :func:`signature`."""
    return signature(behaviour, "o2", **options)


def i1(behaviour: NeuralData | xr.DataArray, **options: Any) -> Signature:
    """d' of each image against all other objects; options as :func:`signature`."""
    return signature(behaviour, "i1", **options)


def i1n(behaviour: NeuralData | xr.DataArray, **options: Any) -> Signature:
    """d' of each image against all other objects, less its object's mean; options as :func:`signature`."""
    return signature(behaviour, "i1n", **options)


def i2(behaviour: NeuralData | xr.DataArray, **options: Any) -> Signature:
    """d' of each image against each other object; options as :func:`signature`."""
    return signature(behaviour, "i2", **options)


def i2n(behaviour: NeuralData | xr.DataArray, **options: Any) -> Signature:
    """d' of each image against each other object, less its object's mean; options as :func:`signature`."""
    return signature(behaviour, "i2n", **options)
