"""The page of a study: one folder that opens from disk, no request outside it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netphys.figures.style import PAGE
from netphys.files import slug, write_text
from netphys.provenance import versions
from netphys.studies.captions import REFERENCE, best_layers
from netphys.studies.methods import methods_text
from netphys.studies.study import NetworkEntry, study_toml

if TYPE_CHECKING:
    import pandas as pd

    from netphys.studies.made import Made

__all__ = ["contrast_rows", "paragraphs", "render", "shown_figures", "summary_rows", "write_if_changed", "write_page"]


def write_page(made: Made) -> None:
    """Write ``index.html``, ``methods.md`` and ``study.toml``; files whose contents stay are not touched."""
    methods = methods_text(made)
    page = render(
        title=made.study.title,
        description=" ".join(made.study.description.split()),
        summary=summary_rows(made.scores),
        contrasts=contrast_rows(made.contrasts),
        figures=shown_figures(made.folder, made.captions),
        networks=[_network_row(made, entry) for entry in made.study.networks],
        methods=paragraphs(methods),
        dataset_word="data" if made.study.probe else "neural data",
        scores="scores.csv",
        files=_files(made),
        versions=versions(),
        seed=made.study.seed,
    )
    for name, text in (("study.toml", study_toml(made.given)), ("methods.md", methods), ("index.html", page)):
        write_if_changed(made.folder / name, text)


def contrast_rows(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    """One row a trained network and set of data: where training changed most, and at how many layers."""
    if table is None:
        return []
    rows = []
    order = {dataset: place for place, dataset in enumerate(dict.fromkeys(table["dataset"]))}
    table = table.sort_values("dataset", key=lambda names: names.map(order), kind="stable")
    for (dataset, network), own in table.groupby(["dataset", "network"], sort=False):
        most = own.iloc[int(own["difference"].abs().argmax())]
        found = own["p_adjusted"] <= 0.05
        rows.append(
            {
                "dataset": dataset,
                "network": network,
                "control": most["control"],
                "above": f"{int((found & (own['difference'] > 0)).sum())} of {len(own)}",
                "below": f"{int((found & (own['difference'] < 0)).sum())} of {len(own)}",
                "layer": most["layer"],
                "difference": f"{most['difference']:+.3f}",
                "interval": f"{most['ci_low']:+.3f} to {most['ci_high']:+.3f}",
            }
        )
    return rows


def shown_figures(folder: Path, captions: Mapping[str, str]) -> list[dict[str, Any]]:
    """Describe figures for the template; each is shown at its size on paper, the full width of a page being 100 %."""
    from PIL import Image

    shown = []
    for name, caption in captions.items():
        with Image.open(folder / "figures" / f"{name}.png") as image:
            inches = image.width / float(image.info["dpi"][0])
        shown.append({"name": name, "caption": caption, "width": min(100, round(100 * inches / PAGE))})
    return shown


def write_if_changed(path: Path, text: str) -> None:
    """Commit a text file unless it holds the same already."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def render(**values: Any) -> str:
    """Render the page's template; everything that comes from outside is escaped."""
    from jinja2 import Environment, StrictUndefined

    source = resources.files("netphys.studies").joinpath("templates/index.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(**values)


def summary_rows(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """One row a set of neural data and network: the best layer."""
    rows = []
    for dataset in dict.fromkeys(scores["dataset"]):
        of_data = scores[scores["dataset"] == dataset]
        for network, layer in best_layers(scores, dataset).items():
            row = of_data[(of_data["network"] == network) & (of_data["layer"] == layer)].iloc[0]
            rows.append({"dataset": dataset, "network": network, "layer": layer, **_numbers(row)})
        for _, row in of_data[of_data["training"] == REFERENCE].iterrows():
            rows.append({"dataset": dataset, "network": f"{row['network']} (as a model)", "layer": "", **_numbers(row)})
    return rows


_ALWAYS = ("scores.csv", "methods.md", "study.toml")  # written with the page itself


def _numbers(row: pd.Series) -> dict[str, str]:
    def interval(low: float, high: float) -> str:
        return f"{low:.3f} to {high:.3f}" if low == low else ""

    return {
        "score": f"{row['score']:.3f}",
        "interval": interval(row["ci_low"], row["ci_high"]),
        "ceiling": interval(row["ceiling_low"], row["ceiling_high"]) or str(row["ceiling_rule"]),
        "p": "" if row["p"] != row["p"] else "< 0.001" if row["p"] < 0.001 else f"{row['p']:.3f}",
    }


def _network_row(made: Made, entry: NetworkEntry) -> dict[str, str]:
    return {
        "name": entry.name,
        "address": entry.address,
        "training": made.participants[entry.name].training,
        "layers": ", ".join(entry.layers),
        "digest": made.participants[entry.name].digests["network"][:12],
        "recording": f"recordings/{slug(entry.name)}.h5",
        "folder": f"networks/{slug(entry.name)}/network.toml" if entry.train is not None else "",
        "units": made.units[entry.name].relative_to(made.folder).as_posix() if entry.name in made.units else "",
    }


def _files(made: Made) -> list[dict[str, str]]:
    """What lies in the folder, and what it is."""
    listed = [
        ("scores.csv", "every score, one row a layer: the tidy frame"),
        ("methods.md", "what was done, in a paper's words"),
        ("contrasts.csv", "trained networks minus their controls, paired, one row a layer"),
        ("study.toml", "the study as it was run; netphys run study.toml repeats it"),
    ]
    listed += [
        (f"rdms/{slug(each.name)}.h5", f"RDMs of {each.name} (rsatoolbox's HDF5)") for each in made.study.networks
    ]
    listed += [
        (
            f"networks/{slug(each.name)}/weights.safetensors",
            f"weights of {each.name}; network.toml beside it says all else",
        )
        for each in made.study.networks
    ]
    listed += [(f"units/{slug(each.name)}/top.h5", f"top patches of {each.name}") for each in made.study.networks]
    listed += [(f"neural/{slug(each.name)}.rdms.h5", f"RDMs of {each.name}") for each in made.study.neural]
    listed += [(f"neural/{slug(each.name)}.nc", f"responses of {each.name} (netCDF)") for each in made.study.neural]
    return [{"path": path, "what": what} for path, what in listed if path in made.outputs or path in _ALWAYS]


def paragraphs(markdown: str) -> list[dict[str, Any]]:
    """Split our own methods text (headings, bold leads, lists) for the template."""
    blocks: list[dict[str, Any]] = []
    for block in markdown.strip().split("\n\n"):
        if block.startswith("# "):
            continue
        if block.startswith("## "):
            blocks.append({"heading": block[3:]})
        elif block.startswith("- "):
            blocks.append({"items": [line[2:] for line in block.splitlines()]})
        elif block.startswith("**"):
            lead, _, rest = block[2:].partition("**")
            blocks.append({"lead": lead, "text": _code(rest)})
        else:
            blocks.append({"text": _code(block)})
    return blocks


def _code(text: str) -> list[tuple[str, bool]]:
    """Split text at back-ticks: (piece, is code)."""
    return [(piece, bool(index % 2)) for index, piece in enumerate(text.split("`")) if piece]
