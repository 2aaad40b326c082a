"""The page of a network's units: for every layer the patches that drive its units most, with the tables behind them.

One folder that opens from disk, no request outside it. A study writes one page a network; ``netphys units`` writes one
alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import OptionError, OutputError
from netphys.figures.saving import save_figure
from netphys.figures.style import PAGE, paper_style
from netphys.files import ensure_folder, remove_tree, slug, write_text
from netphys.progress import bar
from netphys.provenance import provenance, versions
from netphys.studies.steps import is_study

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure

    from netphys.networks import Network
    from netphys.networks.fields import Field, Fields
    from netphys.stimuli import StimulusSet
    from netphys.units import LayerPatches, Pictures, TopPatchesResult

__all__ = ["ExtraFigure", "look_at_units", "write_unit_pages"]

_COLUMNS = 6  # units in a row of a sheet


@dataclass(frozen=True)
class ExtraFigure:
    """A figure made elsewhere that the page shows above the layers, e.g. the first layer's filters.

    `path` is the picture (PNG), below the folder that the page is written to; a PDF and a CSV of the same name beside
    it are linked where they are.
    """

    path: Path
    title: str
    caption: str


def write_unit_pages(
    folder: Path | str,
    result: TopPatchesResult,
    stimuli: StimulusSet,
    network: Network | torch.nn.Module,
    *,
    fields: Fields | None = None,
    name: str = "",
    extra_figures: Sequence[ExtraFigure] = (),
    n_units: int = 24,
    rule: str = "spread",
    made: Mapping[str, Any] | None = None,
    home: str | None = None,
) -> Path:
    """Write ``units/<network>/index.html`` below a folder: a section a layer, its sheet of patches and its table.

    Sheets and tables that an earlier page of that network left are removed.

    Parameters
    ----------
    folder : Path
        The study's folder, or that of the command.
    result : TopPatchesResult
        What drove the units most.
    stimuli : StimulusSet
        What was shown in that pass.
    network : Network or torch.nn.Module
        To whom.
    fields : Fields, optional
        Receptive fields at the size that the network sees. Default: worked out.
    name : str
        What the page calls the network, and its folder. Default: the network's own name.
    extra_figures : sequence of ExtraFigure
        Shown above the layers.
    n_units, rule
        How many units a sheet shows, and how they are chosen (:func:`netphys.units.choose_units`).
    made : mapping, optional
        Provenance that figures carry. Default: that of the result.
    home : str, optional
        Link to the study's page, as seen from this one (``../../index.html``), for a study whose page is written
        later. Default: to the ``index.html`` of the folder, where there is one.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    MatchError
        If the stimuli are not those of the result.
    OptionError
        If an extra figure lies outside the folder, or the rule is not known.
    """
    from netphys.networks import as_network

    network = as_network(network)
    name = name or network.name
    writer = _Page(Path(folder), result, stimuli, network, name, n_units, rule, dict(made or result.made), home)
    return writer.write(fields, extra_figures)


def look_at_units(
    network: Network | str,
    stimuli: StimulusSet | str,
    *,
    layers: Sequence[str],
    out: Path | str,
    k: int = 9,
    n_units: int = 24,
    rule: str = "spread",
    batch_size: int = 32,
    device: str = "auto",
    seed: int = 0,
    force: bool = False,
) -> tuple[TopPatchesResult, Path]:
    """Find the top patches of a network's units and write their page: what ``netphys units`` does.

    Parameters
    ----------
    network, stimuli, layers, k, batch_size, device, seed
        As of :func:`netphys.units.top_patches`.
    out : Path
        Where results go: ``units/<network>/`` with ``index.html``, ``top.h5``, sheets and tables.
    n_units, rule
        As of :func:`write_unit_pages`.
    force : bool
        Write also into a folder that holds other things.

    Returns
    -------
    result, page : TopPatchesResult, Path

    Raises
    ------
    OutputError
        If the folder holds something else.
    """
    from netphys.networks import as_network
    from netphys.stimuli import as_stimuli
    from netphys.units import top_patches
    from netphys.units.sheets import check_rule

    check_rule(rule)  # before the long pass
    folder = Path(out)
    _require_own(folder, force)
    network, stimuli = as_network(network, seed=seed), as_stimuli(stimuli)
    result = top_patches(network, stimuli, layers=layers, k=k, batch_size=batch_size, device=device, seed=seed)
    result.save(ensure_folder(folder / "units" / slug(network.name)) / "top.h5")
    return result, write_unit_pages(folder, result, stimuli, network, n_units=n_units, rule=rule)


@dataclass
class _Page:
    """Draws and writes one page."""

    folder: Path
    result: TopPatchesResult
    stimuli: StimulusSet
    network: Network
    name: str
    n_units: int
    rule: str
    made: dict[str, Any]
    home: str | None

    def write(self, fields: Fields | None, extra_figures: Sequence[ExtraFigure]) -> Path:
        """Draw all sheets, then write the page."""
        from netphys.errors import MatchError
        from netphys.networks.geometry import receptive_fields
        from netphys.units import choose_units, read_pictures

        if self.stimuli.ids != self.result.stimulus_ids:
            raise MatchError(
                f"top patches are of {len(self.result.stimulus_ids)} other stimuli than {self.stimuli.name}"
            )
        figures = [self._extra(each) for each in extra_figures]
        ensure_folder(self._home)
        for left in ("sheets", "tables"):  # of other layers, of an earlier run
            remove_tree(self._home / left)
        layers = list(self.result.layers.values())
        chosen = {each.name: choose_units(each, self.n_units, rule=self.rule) for each in layers}
        shown = [each.stimulus[list(chosen[each.name])].ravel() for each in layers]
        pictures = read_pictures(self.stimuli, self.network, np.concatenate(shown))  # each stimulus is read once
        if fields is None and pictures.images.size:
            fields = receptive_fields(self.network, size=(pictures.images.shape[-2], pictures.images.shape[-1]))
        rows = []
        with bar(len(layers), label=f"units of {self.name}", unit="layer") as progress:
            for index, layer in enumerate(layers):
                rows.append(self._layer(index, layer, chosen[layer.name], pictures, _field_of(layer, fields)))
                progress.update(1)
        page = self._home / "index.html"
        write_text(page, self._render(rows, figures))
        return page

    @property
    def _home(self) -> Path:
        return self.folder / "units" / slug(self.name)

    def _layer(
        self, index: int, layer: LayerPatches, units: tuple[int, ...], pictures: Pictures, field: Field
    ) -> dict[str, Any]:
        """Write one layer's sheet and table; describe them for the template."""
        from netphys.networks.fields import times
        from netphys.units import cut_patches

        stem = f"{index:02d}-{slug(layer.name)}"
        note = "every unit is dead: no stimulus drives one above 0"
        if units:
            crops = cut_patches(layer, units, pictures, field)
            note = crops.note
            made = self.made or provenance("units.top_patches", {"k": self.result.k}, {})
            sheet = {"layer": layer.name, "units": list(units), "rule": self.rule}
            save_figure(_sheet(crops, layer), self._home / "sheets" / stem, data=None, made={**made, "sheet": sheet})
        table = self.result.to_frame(layer.name)
        write_text(ensure_folder(self._home / "tables") / f"{stem}.csv", table.to_csv(index=False))
        known = not field.problem and not field.whole
        return {
            "stem": stem,
            "layer": layer.name,
            "kind": layer.kind,
            "n_units": layer.n_units,
            "n_dead": layer.n_dead,
            "n_shown": len(units),
            "map": times(layer.shape[1:]),
            "field": f"{times(field.size)} px" if known else "unknown" if field.problem else "the whole image",
            "stride": f"{times(field.stride)} px" if known else "",
            "gated": field.gated,
            "note": note,
        }

    def _extra(self, figure: ExtraFigure) -> dict[str, str]:
        """Describe a figure made elsewhere; its links start at the page."""
        path = Path(figure.path)
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise OptionError(f"figure {path} lies outside {self.folder}, where a page that is moved would lose it")
        links = {}
        for suffix in (".png", ".pdf", ".csv"):
            beside = path.with_suffix(suffix)
            links[suffix[1:]] = Path(os.path.relpath(beside, self._home)).as_posix() if beside.is_file() else ""
        if not links["png"]:
            raise OptionError(f"figure {path} is not there as PNG")
        return {"title": figure.title, "caption": figure.caption, **links}

    def _render(self, layers: list[dict[str, Any]], figures: list[dict[str, str]]) -> str:
        from jinja2 import Environment, StrictUndefined

        from netphys.units.sheets import RULES

        source = resources.files("netphys.studies").joinpath("templates/units.html.j2").read_text(encoding="utf-8")
        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        return environment.from_string(source).render(
            name=self.name,
            finding=str(self.result),
            stimuli=self.stimuli.name,
            n_stimuli=len(self.stimuli),
            k=min(self.result.k, len(self.stimuli)),
            rule=RULES[self.rule],
            layers=layers,
            figures=figures,
            home=self._up("index.html") if self.home is None else self.home,
            top="top.h5" if (self._home / "top.h5").is_file() else "",
            seed=self.made.get("seed", ""),
            versions=versions(),
        )

    def _up(self, name: str) -> str:
        """Link to a page of the folder above, where there is one."""
        return f"../../{name}" if (self.folder / name).is_file() else ""


def _sheet(crops: Any, layer: LayerPatches) -> Figure:
    """Draw one sheet as wide as a page, without margins: its title is the page's heading."""
    from matplotlib.figure import Figure

    from netphys.units.sheets import draw_sheet, mosaic

    with paper_style():
        picture, _, _ = laid = mosaic(crops, _COLUMNS)
        width = PAGE * min(1.0, (len(crops.units) + 0.3) / _COLUMNS)
        figure = Figure(figsize=(width, width * picture.shape[0] / picture.shape[1]))
        draw_sheet(laid, crops.units, layer, ax=figure.add_axes((0, 0, 1, 1)))
    return figure


def _field_of(layer: LayerPatches, fields: Fields | None) -> Field:
    """Return a layer's field, or one that says why there is none."""
    from netphys.networks.fields import Field

    if fields is not None and layer.name in fields:
        return fields[layer.name]
    return Field(layer.name, problem="it is not the output of a module")


def _require_own(folder: Path, force: bool) -> None:
    """Refuse a folder that holds other things than such pages."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"cannot write {folder}: it is a file; choose another --out")
    if is_study(folder):
        raise OutputError(f"{folder} holds a study; choose another --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "units").is_dir() and not force:
        raise OutputError(f"{folder} is not empty and holds no pages of units; choose another --out, or --force")
