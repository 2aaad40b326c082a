"""What the figures show, in words, and which RDMs stand side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.rsa.comparison import MEASURE_NAMES
from netphys.studies.study import ProbeOptions, RSAOptions

if TYPE_CHECKING:
    import pandas as pd
    from rsatoolbox.rdm import RDMs

__all__ = [
    "CURVES",
    "FILTERS",
    "GROUPED",
    "REFERENCE",
    "agreement_caption",
    "best_layers",
    "differences_caption",
    "findings",
    "probe_caption",
    "rdm_caption",
    "sheet_caption",
    "shown_rdms",
]

CURVES = (
    "Learning curves: the loss of the training batches (pale: every step; line: a running mean) and of held-out "
    "stimuli (dots), beside the losses of those who learn nothing: chance, the prior of the training set, the "
    "untrained network."
)
FILTERS = (
    "Filters of the first layer as they act on an image: grey is 0, one scale a network, its largest weight in "
    "brackets. A network that sees lightness alone has filters without colour. The table beside holds the Gabor fit "
    "of every filter."
)
GROUPED = (
    "No {groups} is in both parts of the split; intervals and p take test stimuli for independent, which those of one "
    "{groups} may not be."
)
REFERENCE = "neural"  # in the column ``training``: not a network, but neural data taken as a model


def best_layers(scores: pd.DataFrame, dataset: str) -> dict[str, str]:
    """Return the layer of each network that agrees best with a set of neural data."""
    rows = scores[(scores["dataset"] == dataset) & (scores["training"] != REFERENCE) & scores["score"].notna()]
    best = rows.loc[rows.groupby("network", sort=False)["score"].idxmax()]
    return dict(zip(best["network"], best["layer"]))


def findings(scores: pd.DataFrame) -> list[str]:
    """Say, a line a set of neural data and network, which layer agrees best."""
    lines = []
    for dataset in dict.fromkeys(scores["dataset"]):
        of_data = scores[scores["dataset"] == dataset]
        for network, layer in best_layers(scores, dataset).items():
            row = of_data[(of_data["network"] == network) & (of_data["layer"] == layer)].iloc[0]
            interval = f" [{row['ci_low']:.2f}, {row['ci_high']:.2f}]" if np.isfinite(row["ci_low"]) else ""
            lines.append(f"{dataset} · {network}: {row['score']:.2f}{interval} at {layer}")
    return lines


def shown_rdms(
    neural: Mapping[str, RDMs], networks: Mapping[str, RDMs], scores: pd.DataFrame
) -> tuple[list[tuple[str, Any]], pd.DataFrame]:
    """Choose RDMs to show: neural data, and of each network the layer that agrees best with the last of them.

    Parameters
    ----------
    neural : mapping
        Name → one RDM (pooled over subjects).
    networks : mapping
        Name → RDMs of its layers.
    scores : pandas.DataFrame
        The tidy frame.

    Returns
    -------
    entries : list of (title, RDMs)
        Of the stimuli that all have, in the order of the first.
    table : pandas.DataFrame
        The dissimilarities, a row a pair of stimuli.
    """
    import pandas as pd

    entries: list[tuple[str, Any]] = list(neural.items())
    for network, layer in best_layers(scores, list(neural)[-1]).items():
        rdms = networks[network]
        row = list(rdms.rdm_descriptors["layer"]).index(layer)
        entries.append((f"{network}\n{layer}" if rdms.n_rdm > 1 else network, rdms[row]))
    ids = _shared_ids([rdm for _, rdm in entries])
    entries = [(title, _in_order(rdm, ids)) for title, rdm in entries]
    first, second = np.triu_indices(len(ids), 1)
    table = pd.DataFrame({"stimulus_a": np.array(ids)[first], "stimulus_b": np.array(ids)[second]})
    for title, rdm in entries:
        table[title.replace("\n", " ")] = rdm.get_vectors()[0]
    return entries, table


def _shared_ids(rdms: Sequence[RDMs]) -> list[str]:
    """Return the stimuli that all RDMs have, in the order of the first."""
    own = [[str(each) for each in rdm.pattern_descriptors["stimulus_id"]] for rdm in rdms]
    return [each for each in own[0] if all(each in ids for ids in own[1:])]


def _in_order(rdm: RDMs, ids: Sequence[str]) -> RDMs:
    """Bring the stimuli of an RDM into a given order; those that are not named are left out."""
    own = [str(each) for each in rdm.pattern_descriptors["stimulus_id"]]
    if own == list(ids):
        return rdm
    from rsatoolbox.rdm import RDMs

    rows = [own.index(each) for each in ids]
    square = rdm.get_matrices()[:, rows][:, :, rows]
    return RDMs(square, pattern_descriptors={"stimulus_id": list(ids)})


def agreement_caption(options: RSAOptions, scores: pd.DataFrame) -> str:
    """Say what the figure of agreement shows."""
    if options.n_bootstraps:
        counts = sorted(set(scores["n_stimuli"].astype(int)))
        dof = str(counts[0] - 1) if len(counts) == 1 else f"{counts[0] - 1} to {counts[-1] - 1}"
        interval = (
            f"Bands and bars are 95 % intervals over stimuli (t with {dof} degrees of freedom, variance from "
            f"{options.n_bootstraps} bootstrap draws of stimuli); filled markers: above 0 at a false discovery rate "
            "of 5 % within the panel."
        )
    else:
        interval = "No intervals were asked for (n_bootstraps = 0)."
    ceilings = (
        "Grey bands are noise ceilings over subjects (lower: each subject with the mean of the others; upper: with the "
        "mean of all, which unrelated RDMs of S subjects would put at about 1/√S)."
        if scores["ceiling_low"].notna().any()
        else "A single RDM of neural data has no noise ceiling."
    )
    if scores["ceiling_low"].notna().any() and scores["ceiling_low"].isna().any():
        ceilings += " Data of a single RDM have none, and the panel says so."
    dashed = (
        " Dashed lines take other neural data, or the noise-free truth of simulated data, as a model."
        if (scores["training"] == REFERENCE).any()
        else ""
    )
    return (
        f"Agreement of every layer's RDM ({options.rdm} distance) with that of neural data: mean over subjects of "
        f"{MEASURE_NAMES[options.compare]}. {interval} {ceilings}{dashed}"
    )


def rdm_caption(last: str, groups: str = "", *, n_shared: int | None = None) -> str:
    """Say what the figure of RDMs shows.

    Parameters
    ----------
    last : str
        The set of neural data by which layers were chosen.
    groups : str
        The column by which stimuli are sorted.
    n_shared : int, optional
        How many stimuli all have, where that is not all of them.
    """
    of = f" of the {n_shared} stimuli that all have" if n_shared is not None else ""
    sorted_by = f", sorted by {groups.replace('_', ' ')}" if groups else ""
    return (
        f"RDMs{of} side by side{sorted_by}: dissimilarities as percentiles (0: the most similar pair of stimuli, 100: "
        "the least), as in Kriegeskorte et al. (2008). Neural data of several subjects are averaged as ranks. Of each "
        f"network the layer is shown that agrees best with {last}."
    )


def sheet_caption(n: int) -> str:
    """Say what the sheet of stimuli shows."""
    return f"Stimuli: 60 of {n}, spread over the set in its order." if n > 60 else f"All {n} stimuli."


def probe_caption(options: ProbeOptions, rows: pd.DataFrame) -> str:
    """Say what the figure of the probe shows."""
    n_test = int(rows["n_stimuli"].iloc[0])
    return (
        f"What a linear probe reads out of every layer: accuracy in telling {options.labels.replace('_', ' ')} on "
        f"{n_test} stimuli that the probe was not trained on, the same for all layers and networks, with 95 % "
        "intervals over these stimuli. The line is the largest class's share. Every layer gives at most 512 numbers "
        "(means over a grid of its maps), or one a unit where there are more."
        f"{' ' + GROUPED.format(groups=options.groups) if options.groups else ''}"
    )


def differences_caption(table: pd.DataFrame) -> str:
    """Say what the figure of differences shows."""
    return (
        "What training changed: score of a trained network minus that of its control, layer by layer, on the same "
        "stimuli. Bands are 95 % intervals of the paired difference; filled markers differ from 0 at a false "
        "discovery rate of 5 % over the layers of a network. Panels have their own measure and scale."
    )
