"""What the layers of recordings know about a label, without a study file: what ``netphys probe`` does."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netphys.errors import MatchError, NeuralDataError, OptionError, OutputError, near
from netphys.files import ensure_folder, slug, write_json, write_text, writing
from netphys.provenance import provenance, versions
from netphys.studies.page import paragraphs, render, shown_figures, write_if_changed
from netphys.studies.steps import is_study

if TYPE_CHECKING:
    import pandas as pd

    from netphys.probes import ProbeResult
    from netphys.recording import Recording

__all__ = ["ProbingResult", "probe_recordings"]

_REFERENCES = """## References

- Alain G, Bengio Y (2016). Understanding intermediate layers using linear classifier probes. arXiv:1610.01644
- Radford A, Kim JW, Hallacy C, et al. (2021). Learning transferable visual models from natural language supervision. \
arXiv:2103.00020
- Liu DC, Nocedal J (1989). On the limited memory BFGS method for large scale optimization. Math Program 45:503. \
doi:10.1007/BF01589116
- Wilson EB (1927). Probable inference, the law of succession, and statistical inference. J Am Stat Assoc 22:209. \
doi:10.1080/01621459.1927.10502953
- Benjamini Y, Hochberg Y (1995). Controlling the false discovery rate. J R Stat Soc B 57:289. \
doi:10.1111/j.2517-6161.1995.tb02031.x"""
_PAIRED = """
- Newcombe RG (1998). Improved confidence intervals for the difference between binomial proportions based on paired \
data. Stat Med 17:2635.
- McNemar Q (1947). Note on the sampling error of the difference between correlated proportions or percentages. \
Psychometrika 12:153. doi:10.1007/BF02295996"""


@dataclass(frozen=True, repr=False)
class ProbingResult:
    """What probing left behind."""

    folder: Path
    results: Mapping[str, ProbeResult]  # one a network

    def __repr__(self) -> str:
        return f"ProbingResult({self.folder}: {'; '.join(self.findings())})"

    def to_frame(self) -> pd.DataFrame:
        """Return the tidy frame of all networks (:mod:`netphys.scores`)."""
        import pandas as pd

        return pd.concat([each.to_frame() for each in self.results.values()], ignore_index=True)

    def findings(self) -> list[str]:
        """Say which layer of each network tells most, chosen on held training stimuli."""
        return [str(each) for each in self.results.values()]


def probe_recordings(
    recordings: Sequence[Path | str | Recording],
    labels: str,
    *,
    out: Path | str,
    groups: str | None = None,
    layers: Sequence[str] | None = None,
    pool: str = "as recorded",
    test: float = 0.25,
    seed: int = 0,
    force: bool = False,
) -> ProbingResult:
    """Probe every layer of recordings for a label; leave ``probe.csv``, figures and a page.

    Parameters
    ----------
    recordings : sequence of Path or Recording
        One a network, of the same stimuli.
    labels : str
        A column of the recordings' metadata, or ``FILE:COLUMN`` of a CSV table, joined by its column ``stimulus_id``
        or ``file``.
    out : Path
        Where results go.
    groups : str, optional
        As `labels`: what is kept whole by the split into training and test (a scene, an object).
    layers : sequence of str, optional
        Patterns; default all.
    pool : {"as recorded", "mean"}
        All numbers that were recorded of a layer, or the mean of each unit.
    test : float
        Share of the stimuli of each class that is kept for the test.
    seed : int
        Of the split.
    force : bool
        Write also into a folder that holds other things.

    Returns
    -------
    ProbingResult

    Raises
    ------
    OptionError
        If there is no recording, or an option is not known.
    MatchError
        If the recordings are of different stimuli, or a file has no value, or two, for one of them.
    OutputError
        If the folder holds something else.
    """
    from netphys.probes import probe
    from netphys.recording import Recording, load_recording

    loaded = [each if isinstance(each, Recording) else load_recording(each) for each in recordings]
    if not loaded:
        raise OptionError("no recording to probe")
    folder = Path(out)
    _require_own(folder, force)
    _require_same_stimuli(loaded)
    results = {}
    for name, recording in zip(_names(loaded), loaded):
        results[name] = probe(
            recording,
            _values(labels, recording),
            layers=layers,
            pool=pool,
            test=test,
            groups=None if groups is None else _values(groups, recording),
            seed=seed,
            network=name,
        )
    made = ProbingResult(ensure_folder(folder), results)
    record = provenance(
        "studies.probe_recordings",
        {"labels": labels, "groups": groups or "", "pool": pool, "test": test},
        {name: each.inputs["recording"] for name, each in results.items()},
        seed=seed,
        split=next(iter(results.values())).split,
    )
    differences = _save(made, record)
    captions = _draw(made, record)
    _write_page(made, dict(zip(results, loaded)), captions, differences, seed)
    return made


def _save(made: ProbingResult, record: dict[str, Any]) -> pd.DataFrame:
    """Write the tables, in place of all those of an earlier run; returns the differences of networks."""
    import pandas as pd

    from netphys.probes import compare_probes

    folder, results = made.folder, made.results
    differences = compare_probes(results) if len(results) > 1 else pd.DataFrame()
    for left in _tables(folder):
        with writing(left):
            left.unlink(missing_ok=True)
    write_json(folder / "probe.json", record)
    write_text(folder / "probe.csv", made.to_frame().to_csv(index=False))
    for name, each in results.items():
        each.save(folder / "networks", slug(name))
    if len(differences):
        write_text(folder / "differences.csv", differences.to_csv(index=False))
    return differences


def _tables(folder: Path) -> list[Path]:
    """List the tables that the last run into a folder may have left, by its record; other files are not ours."""
    try:
        networks = list(json.loads((folder / "probe.json").read_text(encoding="utf-8"))["inputs"])
    except (OSError, ValueError, KeyError, TypeError):
        return []
    of_networks = [folder / "networks" / f"{slug(each)}.{ending}" for each in networks for ending in ("csv", "json")]
    return [folder / "differences.csv", *of_networks]


def _require_own(folder: Path, force: bool) -> None:
    """Refuse a folder that holds other things than probes."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"cannot write {folder}: it is a file; choose another --out")
    if is_study(folder):
        raise OutputError(f"{folder} holds a study; choose another --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "probe.json").is_file() and not force:
        raise OutputError(f"{folder} is not empty and holds no probes; choose another --out, or --force")


def _require_same_stimuli(recordings: Sequence[Recording]) -> None:
    """Networks stand in one figure only if they were tested on the same stimuli."""
    first = recordings[0]
    for each in recordings[1:]:
        if set(each.stimulus_ids) != set(first.stimulus_ids):
            own = sorted(set(each.stimulus_ids) ^ set(first.stimulus_ids))
            raise MatchError(
                f"{first.name} and {each.name} were shown different stimuli ({len(own)} were shown to one only, first "
                f"{own[0]!r}); record both on the same set, or probe each by itself"
            )


def _names(recordings: Sequence[Recording]) -> list[str]:
    """Name the networks: the file's name where there is one (addresses are long), made unique by number."""
    names: list[str] = []
    for recording in recordings:
        name = recording.path.stem if recording.path else recording.name
        same = sum(slug(each) == slug(name) or each.startswith(f"{name} (") for each in names)
        names.append(f"{name} ({same + 1})" if same else name)
    return names


def _values(where: str, recording: Recording) -> str | pd.Series:
    """Find a column: the name of the recording's own, or the values that a file has for its stimuli."""
    file, colon, column = where.rpartition(":")
    if not colon or where in recording.metadata:
        return where
    import pandas as pd

    from netphys.neural import read_ids

    values = read_ids(where)
    try:
        ids = read_ids(f"{file}:stimulus_id")
    except NeuralDataError:
        ids = read_ids(f"{file}:file")
    found: dict[str, str] = {}
    for each, value in zip(ids, values):
        if found.setdefault(each, value) != value:
            raise MatchError(
                f"{file} has two values of {column} for {each!r}: {found[each]!r} and {value!r}; a stimulus has one"
            )
    absent = [each for each in recording.stimulus_ids if each not in found]
    if absent:
        raise MatchError(
            f"{file} has no {column} of {len(absent)} stimuli, first {absent[0]!r}{near(absent[0], found)}"
        )
    return pd.Series([found[each] for each in recording.stimulus_ids], name=column, dtype=object)


def _draw(made: ProbingResult, record: dict[str, Any]) -> dict[str, str]:
    """Draw the figures; returns their captions."""
    from netphys.figures import agreement_figure, save_figure
    from netphys.figures.layout import result_figure

    first = next(iter(made.results.values()))
    scores = made.to_frame()
    figures = made.folder / "figures"
    save_figure(agreement_figure(scores, chance=first.chance), figures / "accuracy", data=scores, made=record)
    best = max(made.results.values(), key=lambda each: each.probes[each.best].held_accuracy)
    shown = best.probes[best.best]
    save_figure(result_figure(shown), figures / "confusion", data=shown.to_frame(), made=record)
    n = int(scores["n_stimuli"].iloc[0])
    return {
        "accuracy": (
            f"Share of {n} test stimuli whose {first.label.replace('_', ' ')} a linear probe tells right, layer by "
            "layer. Bands and bars are 95 % intervals over test stimuli (Wilson); the dotted line is the share of the "
            "largest class, which a constant answer reaches; filled markers: above it at a false discovery rate of 5 %."
        ),
        "confusion": (
            f"Answers of the probe of {best.network}, layer {best.layers[best.best]}, in percent of each class (its "
            "number of test stimuli in brackets). The layer was chosen on a held part of the training stimuli."
        ),
    }


def _write_page(
    made: ProbingResult,
    recordings: Mapping[str, Recording],
    captions: Mapping[str, str],
    differences: pd.DataFrame,
    seed: int,
) -> None:
    """Write ``methods.md`` and ``index.html``."""
    first = next(iter(made.results.values()))
    methods = _methods(made, recordings, differences, seed)
    files = [
        {"path": "probe.csv", "what": "accuracy of every layer, one row each: the tidy frame"},
        {"path": "methods.md", "what": "what was done, in a paper's words"},
        *(
            {"path": f"networks/{slug(name)}.json", "what": f"penalties and convergence of {name}"}
            for name in recordings
        ),
    ]
    if len(differences):
        files.insert(1, {"path": "differences.csv", "what": "best layers of networks, paired by test stimulus"})
    page = render(
        title=f"Linear probes of {first.label.replace('_', ' ')}: {', '.join(recordings)}",
        description=f"Which {first.label.replace('_', ' ')} a stimulus has, read from the activations of each layer by "
        "planes, on stimuli that the probe was not trained on.",
        summary=_summary(made),
        contrasts=[],
        figures=shown_figures(made.folder, captions),
        networks=[_row(name, each, made.folder) for name, each in recordings.items()],
        methods=paragraphs(methods),
        scores="probe.csv",
        files=files,
        versions=versions(),
        seed=seed,
        dataset_word="label",
        level_word="chance",
        best_note="The best layer is chosen on a held part of the training stimuli; its score is of the test",
    )
    write_if_changed(made.folder / "methods.md", methods + "\n")
    write_if_changed(made.folder / "index.html", page)


def _summary(made: ProbingResult) -> list[dict[str, str]]:
    """One row a network: its best layer."""
    rows = []
    for name, each in made.results.items():
        row = each.to_frame().iloc[each.best]
        rows.append(
            {
                "dataset": each.label,
                "network": name,
                "layer": str(row["layer"]),
                "score": f"{row['score']:.3f}",
                "interval": f"{row['ci_low']:.3f} to {row['ci_high']:.3f}",
                "ceiling": f"{each.chance:.3f}",
                "p": "< 0.001" if row["p"] < 0.001 else f"{row['p']:.3f}",
            }
        )
    return rows


def _methods(made: ProbingResult, recordings: Mapping[str, Recording], differences: pd.DataFrame, seed: int) -> str:
    """Say what was done, in a paper's words."""
    from netphys.studies.methods import software_text

    first = next(iter(made.results.values()))
    probe = first.probes[0]
    n, n_test = probe.n_train + len(probe.correct), len(probe.correct)
    kept = f", every {first.groups.replace('_', ' ')} wholly in one of the two" if first.groups else ""
    pooled = "the mean of each unit over its positions" if first.pool == "mean" else "all numbers recorded of it"
    text = (
        f"**Linear probes.** For every layer ({pooled}) a multinomial logistic regression told "
        f"{first.label.replace('_', ' ')} ({len(probe.classes)} classes; Alain & Bengio, 2016). Of the {n} stimuli "
        f"{n_test} were kept for the test, in each class the same share{kept}; the split is the same for all layers "
        "and networks. Features were standardised on the training stimuli. The penalty on the squared weights was "
        "searched among 96 values from 1e-6 to 1e6, from coarse to fine, on a held fifth of the training stimuli "
        "(Radford et al., 2021); the probe was fitted again on all training stimuli by preconditioned L-BFGS (Liu & "
        "Nocedal, 1989) until the gradient's norm was below 1e-6, and met the test once. Intervals are 95 % over test "
        f"stimuli (Wilson, 1927); p is one-sided and exact (binomial) against the largest class ({first.chance:.3f}), "
        "marked at a false discovery rate of 5 % (Benjamini & Hochberg, 1995). The best layer of a network is that of "
        "the highest accuracy on the held fifth."
    )
    if first.groups:
        text += " Intervals and p take test stimuli for independent; those of one group may not be."
    if len(differences):
        text += (
            " Best layers were compared on the same test stimuli (McNemar's exact test, 1947; intervals of Newcombe, "
            "1998, method 10)."
        )
    networks = "; ".join(
        f"{name} (`{each.name}`, {each.training}; {len(each.layers)} layer{'s' * (len(each.layers) != 1)})"
        for name, each in recordings.items()
    )
    parts = ["# Methods: linear probes", text, f"**Networks.** {networks}.", f"{software_text()} Seed {seed}."]
    return "\n\n".join([*parts, _REFERENCES + (_PAIRED if len(differences) else "")])


def _row(name: str, recording: Recording, folder: Path) -> dict[str, str]:
    """Describe a recording for the page."""
    ends = list(dict.fromkeys([recording.layers[0], recording.layers[-1]]))
    n = len(recording.layers)
    return {
        "name": name,
        "address": recording.name,
        "training": recording.training,
        "layers": f"{n} layer{'s' * (n != 1)}: {' to '.join(ends)}",
        "digest": str(recording.header.get("digest", ""))[:12],
        "recording": os.path.relpath(recording.path, folder) if recording.path else "",
        "folder": "",
        "units": "",
    }
