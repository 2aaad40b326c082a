"""Recordings against one set of neural data, without a study file: what ``netphys rsa`` does."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netphys.errors import MatchError, OptionError, OutputError, near
from netphys.files import ensure_folder, slug, write_json, write_text
from netphys.provenance import provenance, versions
from netphys.studies.captions import agreement_caption, findings, rdm_caption, shown_rdms
from netphys.studies.methods import analysis_text, references_text, rsa_references, software_text
from netphys.studies.page import paragraphs, render, shown_figures, summary_rows, write_if_changed
from netphys.studies.rdm_files import pooled, save_rdms
from netphys.studies.steps import is_study
from netphys.studies.study import FEW, RSAOptions

if TYPE_CHECKING:
    import pandas as pd

    from netphys.neural import NeuralData
    from netphys.recording import Recording

__all__ = ["ComparisonResult", "compare_recordings"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class ComparisonResult:
    """What a comparison left behind."""

    folder: Path
    scores: pd.DataFrame  # the tidy frame

    def __repr__(self) -> str:
        return f"ComparisonResult({self.folder}: {'; '.join(self.findings())})"

    def to_frame(self) -> pd.DataFrame:
        """Return the tidy frame (:mod:`netphys.scores`)."""
        return self.scores

    def findings(self) -> list[str]:
        """Say which layer of each network agrees best."""
        return findings(self.scores)


def compare_recordings(
    recordings: Sequence[Path | str | Recording],
    neural: str | NeuralData,
    *,
    out: Path | str,
    ids: str | None = None,
    method: str = "correlation",
    compare: str = "spearman",
    n_bootstraps: int = 1000,
    groups: str | None = None,
    layers: Sequence[str] | None = None,
    seed: int = 0,
    force: bool = False,
) -> ComparisonResult:
    """Compare every layer of recordings with neural data; leave ``rsa.csv``, figures and a page.

    Parameters
    ----------
    recordings : sequence of Path or Recording
        One a network; ``.npy``/``.npz`` features need `ids`.
    neural : str or NeuralData
        Neural data, or their address (:func:`netphys.load_neural`).
    out : Path
        Where results go.
    ids : str, optional
        ``FILE:COLUMN``: the list that the rows of files without ids follow.
    method, compare : str
        How RDMs are made (:func:`netphys.rdms`) and compared (:func:`netphys.compare`).
    n_bootstraps : int
        Draws of stimuli; 0 for no intervals.
    groups : str, optional
        ``FILE:COLUMN``: category of each stimulus, by which RDMs are sorted; the file's column ``stimulus_id`` or
        ``file`` says of which.
    layers : sequence of str, optional
        Patterns of the layers to compare; default all.
    seed : int
        Seed of the draws.
    force : bool
        Write also into a folder that holds other things.

    Returns
    -------
    ComparisonResult
    """
    import pandas as pd

    from netphys.neural import NeuralData, load_neural
    from netphys.recording import Recording
    from netphys.rsa import evaluate, rdms

    if isinstance(neural, str) and neural.startswith("world:"):
        raise OptionError(f"{neural} is simulated on stimuli; name both in a study and give it to 'netphys run'")
    data = neural if isinstance(neural, NeuralData) else load_neural(neural, ids=ids)
    loaded = [each if isinstance(each, Recording) else _open(each, ids) for each in recordings]
    if not loaded:
        raise OptionError("no recording to compare")
    if layers:
        loaded = [each.select(layers=layers) for each in loaded]
    names = _names(loaded)
    category = _categories(groups, data.stimulus_ids) if groups else None
    _require_own(Path(out), force)
    if 0 < n_bootstraps < FEW:
        log.warning("intervals from %d draws of stimuli are rough; %d or more are wanted", n_bootstraps, FEW)
    of_data = rdms(data, method=method)
    of_networks = {name: rdms(recording, method=method) for name, recording in zip(names, loaded)}
    options: dict[str, Any] = {"method": compare, "n_bootstraps": n_bootstraps, "dataset": data.name, "seed": seed}
    options["ceiling_draws"] = False
    if data.region:
        options["region"] = data.region
    results = [evaluate(of_networks[name], of_data, network=name, **options) for name in names]
    scores = pd.concat([result.to_frame() for result in results], ignore_index=True)
    folder = ensure_folder(out)
    made = provenance(
        "studies.compare_recordings",
        {"method": method, "compare": compare, "n_bootstraps": n_bootstraps},
        {"neural": data.digest, **{name: str(each.header.get("digest", "")) for name, each in zip(names, loaded)}},
        seed=seed,
        neural=data.source,
    )
    write_text(folder / "rsa.csv", scores.to_csv(index=False))
    write_json(folder / "rsa.json", made)
    for name, made_rdms in of_networks.items():
        save_rdms(made_rdms, folder / "rdms" / f"{slug(name)}.h5", made)
    rsa = RSAOptions(rdm=method, compare=compare, n_bootstraps=n_bootstraps)
    _draw(folder, scores, {data.name: pooled(of_data)}, of_networks, category, made)
    _write_page(folder, scores, data, dict(zip(names, loaded)), rsa, groups, seed)
    return ComparisonResult(folder, scores)


def _open(path: Path | str, ids: str | None) -> Recording:
    """Open a recording, or features with the ids that the user named."""
    from netphys.neural import read_ids
    from netphys.recording import load_recording
    from netphys.recording.file.importing import is_foreign

    return load_recording(path, stimulus_ids=read_ids(ids) if ids and is_foreign(path) else None)


def _names(recordings: Sequence[Recording]) -> list[str]:
    """Name the networks: the file's name where there is one (addresses are long), made unique by number."""
    names: list[str] = []
    for recording in recordings:
        name = recording.path.stem if recording.path else recording.name
        same = sum(slug(each) == slug(name) or each.startswith(f"{name} (") for each in names)
        names.append(f"{name} ({same + 1})" if same else name)
    return names


def _require_own(folder: Path, force: bool) -> None:
    """Refuse a folder that holds other things than a comparison."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"cannot write {folder}: it is a file; choose another --out")
    if is_study(folder):
        raise OutputError(f"{folder} holds a study; choose another --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "rsa.json").is_file() and not force:
        raise OutputError(f"{folder} is not empty and holds no comparison; choose another --out, or --force")


def _categories(groups: str, stimulus_ids: Sequence[str]) -> dict[str, str]:
    """Read the category of each stimulus."""
    from netphys.errors import NeuralDataError
    from netphys.neural import read_ids

    file = groups.rpartition(":")[0]
    try:
        ids = read_ids(f"{file}:stimulus_id")
    except NeuralDataError:
        ids = read_ids(f"{file}:file")
    found = dict(zip(ids, (each.replace("_", " ") for each in read_ids(groups))))
    missing = [each for each in stimulus_ids if each not in found]
    if missing:
        raise MatchError(
            f"{file} has no category of {len(missing)} stimuli, first {missing[0]!r}{near(missing[0], found)}"
        )
    return found


def _draw(folder: Path, scores: Any, neural: Any, networks: Any, category: Any, made: dict[str, Any]) -> None:
    from netphys.figures import agreement_figure, rdm_figure, save_figure

    save_figure(agreement_figure(scores), folder / "figures" / "agreement", data=scores, made=made)
    entries, table = shown_rdms(neural, networks, scores)
    save_figure(rdm_figure(entries, groups=category), folder / "figures" / "rdms", data=table, made=made)


def _write_page(
    folder: Path,
    scores: Any,
    data: NeuralData,
    recordings: dict[str, Recording],
    rsa: RSAOptions,
    groups: str | None,
    seed: int,
) -> None:
    methods = "\n\n".join(
        [
            f"# Methods: {data.name}",
            f"**Neural data.** {data.name}: {data.source}.",
            "**Networks.** " + "; ".join(_described(name, each) for name, each in recordings.items()) + ".",
            analysis_text(rsa, scores),
            f"{software_text()} Seed {seed}.",
            references_text(rsa_references(rsa)),
        ]
    )
    column = groups.rpartition(":")[2] if groups else ""
    page = render(
        title=f"RSA: {', '.join(recordings)} and {data.name}",
        description=f"{data.name}: {data.source}.",
        summary=summary_rows(scores),
        contrasts=[],
        figures=shown_figures(
            folder, {"agreement": agreement_caption(rsa, scores), "rdms": rdm_caption(data.name, column)}
        ),
        networks=[_row(name, recording, folder) for name, recording in recordings.items()],
        methods=paragraphs(methods),
        scores="rsa.csv",
        files=[
            {"path": "rsa.csv", "what": "every score, one row a layer: the tidy frame"},
            {"path": "methods.md", "what": "what was done, in a paper's words"},
            *({"path": f"rdms/{slug(name)}.h5", "what": f"RDMs of {name} (rsatoolbox's HDF5)"} for name in recordings),
        ],
        versions=versions(),
        seed=seed,
    )
    write_if_changed(folder / "methods.md", methods + "\n")
    write_if_changed(folder / "index.html", page)


def _described(name: str, recording: Recording) -> str:
    """Say what a recording is of, for the methods."""
    made = recording.header.get("provenance", {})
    shown = f", on {made['n_stimuli']} stimuli of {made['stimuli']}" if made else ""
    return f"{name} (`{recording.name}`, {recording.training}; {_counted(recording)}{shown})"


def _counted(recording: Recording) -> str:
    """Count a recording's layers, in words."""
    return f"{len(recording.layers)} layer{'s' * (len(recording.layers) != 1)}"


def _row(name: str, recording: Recording, folder: Path) -> dict[str, str]:
    """Describe a recording for the page; the link to its file starts at the page's folder, not where one stood."""
    ends = list(dict.fromkeys([recording.layers[0], recording.layers[-1]]))
    return {
        "name": name,
        "address": recording.name,
        "training": recording.training,
        "layers": f"{_counted(recording)}: {' to '.join(ends)}",
        "digest": str(recording.header.get("digest", ""))[:12],
        "recording": os.path.relpath(recording.path, folder) if recording.path else "",
        "folder": "",
        "units": "",
    }
