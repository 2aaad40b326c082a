"""Does training matter? Every trained network against its control (its untrained twin), layer by layer, paired.

Scores of two networks on the same stimuli are not independent, so their difference has an interval of its own: for RDMs
from the same bootstrap draws of stimuli, for probes from the same test stimuli.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from netphys.inference import fdr_bh

if TYPE_CHECKING:
    import pandas as pd

    from netphys.probes import ProbeResult
    from netphys.rsa import RSAResult

__all__ = ["CONTRAST_COLUMNS", "contrast_findings", "contrast_table", "probe_contrasts", "rsa_contrasts"]

log = logging.getLogger(__name__)

CONTRAST_COLUMNS = (
    "network", "training", "control", "layer", "layer_index", "dataset", "measure", "difference", "ci_low", "ci_high",
    "p",
)  # fmt: skip


def rsa_contrasts(network: Mapping[str, Any], trained: RSAResult, control: RSAResult) -> list[dict[str, Any]]:
    """Compare two networks' agreement with the same neural data.

    Parameters
    ----------
    network : mapping
        ``network``, ``training`` and ``control``, as the table names them.
    trained, control : RSAResult
        Of one network each, on the same data and draws.

    Returns
    -------
    list of dict
        One row a layer that both have: score of the trained one minus score of the control.
    """
    from netphys.rsa import compare_models

    rows = []
    for index, layer in enumerate(trained.layers):
        if layer not in control.layers:
            continue
        found = compare_models(trained, control, layer_a=layer, layer_b=layer)
        rows.append(
            {
                **network,
                "layer": layer,
                "layer_index": trained.layer_index[index],
                "dataset": trained.dataset,
                "measure": trained.measure,
                "difference": found.estimate,
                "ci_low": found.ci_low,
                "ci_high": found.ci_high,
                "p": found.p,
            }
        )
    return rows


def probe_contrasts(network: Mapping[str, Any], trained: ProbeResult, control: ProbeResult) -> list[dict[str, Any]]:
    """Compare what a probe reads out of two networks, on the same test stimuli; one row a layer that both have."""
    if not set(trained.layers) & set(control.layers):
        log.warning("%s and %s share no layer, so that nothing is compared", network["network"], network["control"])
        return []
    table, frame = trained.difference(control), trained.to_frame().set_index("layer")
    return [
        {
            **network,
            "layer": row["layer"],
            "layer_index": int(frame.loc[row["layer"], "layer_index"]),
            "dataset": str(frame.loc[row["layer"], "dataset"]),
            "measure": str(frame.loc[row["layer"], "measure"]),
            **{key: float(row[key]) for key in ("difference", "ci_low", "ci_high", "p")},
        }
        for _, row in table.iterrows()
    ]


def contrast_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Gather rows, with p adjusted (Benjamini & Hochberg) over the layers of a network and dataset: ``p_adjusted``."""
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=list(CONTRAST_COLUMNS))
    table["p_adjusted"] = table.groupby(["network", "dataset"], sort=False)["p"].transform(lambda p: fdr_bh(p))
    return table


def contrast_findings(table: pd.DataFrame) -> list[str]:
    """Say, a line a network and dataset, at how many layers training made a difference, and where the largest."""
    lines = []
    for (network, dataset), rows in table.groupby(["network", "dataset"], sort=False):
        better, worse = (
            int(((rows["p_adjusted"] <= 0.05) & (rows["difference"] * sign > 0)).sum()) for sign in (1, -1)
        )
        most = rows.iloc[int(rows["difference"].abs().argmax())]
        lines.append(
            f"{dataset} · {network} minus {rows['control'].iloc[0]}: above at {better} and below at {worse} of "
            f"{len(rows)} "
            f"layers; most {most['difference']:+.2f} [{most['ci_low']:.2f}, {most['ci_high']:.2f}] at {most['layer']}"
        )
    return lines
