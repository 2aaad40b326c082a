"""What the figures of a study show, in words, and which RDMs stand side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from netphys.studies.running import _Run

__all__ = ["agreement_caption", "best_layers", "rdm_caption", "sheet_caption", "shown_rdms"]


def best_layers(scores: pd.DataFrame, dataset: str) -> dict[str, str]:
    """Return the layer of each network that agrees best with a set of neural data."""
    from netphys.studies.running import REFERENCE

    rows = scores[(scores["dataset"] == dataset) & (scores["training"] != REFERENCE) & scores["score"].notna()]
    best = rows.loc[rows.groupby("network", sort=False)["score"].idxmax()]
    return dict(zip(best["network"], best["layer"]))


def shown_rdms(run: _Run, scores: pd.DataFrame) -> tuple[list[tuple[str, Any]], pd.DataFrame]:
    """Choose RDMs to show: each set of neural data, and of each network the layer that agrees best with the last set.

    Returns
    -------
    entries : list of (title, RDMs)
    table : pandas.DataFrame
        The dissimilarities, a row a pair of stimuli.
    """
    import pandas as pd

    from netphys.studies.running import _load_rdms, _pooled

    entries: list[tuple[str, Any]] = []
    for entry in run.study.neural:
        pooled = _pooled(run._neural_path(entry.name))["RDM"]
        entries.append((entry.name, pooled))
    last = run.study.neural[-1].name
    for network, layer in best_layers(scores, last).items():
        rdms = _load_rdms(run._rdm_path(network))
        row = list(rdms.rdm_descriptors["layer"]).index(layer)
        title = f"{network}\n{layer}" if layer != network else network
        entries.append((title, rdms[row]))
    ids = [str(each) for each in entries[0][1].pattern_descriptors["stimulus_id"]]
    entries = [(title, _in_order(rdm, ids)) for title, rdm in entries]
    first, second = np.triu_indices(len(ids), 1)
    table = pd.DataFrame({"stimulus_a": np.array(ids)[first], "stimulus_b": np.array(ids)[second]})
    for title, rdm in entries:
        table[title.replace("\n", " ")] = rdm.get_vectors()[0]
    return entries, table


def _in_order(rdm: Any, ids: list[str]) -> Any:
    """Bring the stimuli of an RDM into a given order."""
    own = [str(each) for each in rdm.pattern_descriptors["stimulus_id"]]
    if own == ids:
        return rdm
    from rsatoolbox.rdm import RDMs

    rows = [own.index(each) for each in ids]
    square = rdm.get_matrices()[:, rows][:, :, rows]
    descriptors = {key: list(value) for key, value in rdm.rdm_descriptors.items() if key != "index"}
    return RDMs(square, rdm_descriptors=descriptors, pattern_descriptors={"stimulus_id": ids})


def agreement_caption(run: _Run, scores: pd.DataFrame) -> str:
    """Say what the figure of agreement shows."""
    options = run.study.rsa
    if options.n_bootstraps:
        dof = int(scores["n_stimuli"].iloc[0]) - 1
        interval = (
            f"Bands and bars are 95 % intervals over stimuli (t with {dof} degrees of freedom, variance from "
            f"{options.n_bootstraps} bootstrap draws of stimuli); filled markers: above 0 at a false discovery rate "
            "of 5 % within the panel."
        )
    else:
        interval = "No intervals were asked for (n_bootstraps = 0)."
    return (
        f"Agreement of every layer's RDM ({options.rdm} distance) with that of neural data: mean over subjects of the "
        f"{options.compare} correlation. {interval} Grey bands are noise ceilings over subjects (lower: each subject "
        "with the mean of the others; upper: with the mean of all); data of a single RDM allow none, and the panel says "
        "so. Dashed lines take other neural data, or the noise-free truth of simulated data, as a model."
    )


def rdm_caption(run: _Run) -> str:
    """Say what the figure of RDMs shows."""
    sorted_by = f", sorted by {run.study.figures.groups.replace('_', ' ')}" if run.groups else ""
    return (
        f"RDMs side by side{sorted_by}: dissimilarities as percentiles (0: the most similar pair of stimuli, 100: the "
        "least), as in Kriegeskorte et al. (2008). Neural data of several subjects are averaged as ranks. Of each "
        f"network the layer is shown that agrees best with {run.study.neural[-1].name}."
    )


def sheet_caption(run: _Run) -> str:
    """Say what the sheet of stimuli shows."""
    n = len(run.stimuli)
    return f"Stimuli: {min(n, 60)} of {n}, spread over the set in its order." if n > 60 else f"All {n} stimuli."
