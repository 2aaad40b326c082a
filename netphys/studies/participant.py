"""One network of a study: loaded or trained, recorded, its RDMs, what a probe reads out of it, what drives its "
"units."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netphys.errors import OptionError, StudyError, near
from netphys.files import ensure_folder, slug
from netphys.provenance import code_digest, provenance
from netphys.studies.captions import FILTERS
from netphys.studies.rdm_files import save_rdms
from netphys.studies.steps import Steps
from netphys.studies.study import NetworkEntry, Study

if TYPE_CHECKING:
    from netphys.networks import Network
    from netphys.probes import ProbeResult
    from netphys.stimuli import StimulusSet
    from netphys.units import TopPatches
    from netphys.units.filters import FilterBank

__all__ = ["Participant", "check_probe"]

log = logging.getLogger(__name__)


@dataclass
class Participant:
    """A network and the steps that are taken with it, in the order of the methods below."""

    entry: NetworkEntry
    study: Study
    shown: StimulusSet  # the study's
    probed: StimulusSet | None  # those of the probe, where there is one
    folder: Path  # of the study
    steps: Steps
    load: Callable[[str], StimulusSet]  # stimuli of an address; those that several networks learn from are made once
    digests: dict[str, str] = field(default_factory=dict)  # of the steps that were taken, by kind

    @property
    def name(self) -> str:
        """The name in the study."""
        return self.entry.name

    @property
    def training(self) -> str:
        """What the network was trained to do, as figures say it."""
        return self.entry.training or self.network.training

    # Training

    @property
    def home(self) -> Path:
        """The folder of the trained network."""
        return self.folder / "networks" / slug(self.name)

    def check(self) -> None:
        """Say a mistake in the training, or in the layers, before anything is computed."""
        from netphys.recording.recorder import recording_plan

        network = self.network if self.entry.train is None else self._training["network"]
        recording_plan(network, self.shown, layers=self.entry.layers, keep=self.entry.keep, device=self.study.device)
        if self.entry.train is None:
            return
        plan = self._plan
        shared = 0 if self.probed is None else len(set(self.probed.ids) & set(self._training["stimuli"].ids))
        if shared and "labels" in plan:
            log.warning("%d stimuli of the probe are among those that %s learned from, with labels", shared, self.name)

    def train(self) -> None:
        """Train the network, where the study asks for it; a step that was interrupted goes on."""
        if self.entry.train is None:
            return
        from netphys.training import train

        def make() -> list[Path]:
            self.__dict__.pop("network", None)
            train(**self._training, into=self.home, force=True)
            return sorted(path for path in self.home.iterdir() if path.is_file() and not path.name.startswith("."))

        self.digests["training"] = self.steps.run(f"training/{self.name}", self._plan, make)

    @cached_property
    def network(self) -> Network:
        """The network, trained where that was asked for."""
        from netphys.networks import load_network

        if self.entry.train is None:
            return load_network(self.entry.address, seed=self.study.seed)
        address = self.home.relative_to(self.folder).as_posix()  # where the study lies is nobody's business
        return replace(load_network(str(self.home)), name=self.name, address=address)

    @cached_property
    def _training(self) -> dict[str, Any]:
        """Options of the training."""
        from netphys.networks import load_network

        given, shared = self.entry.train, self.study.training
        assert given is not None
        return {
            "objective": given.objective,
            "network": load_network(self.entry.address, seed=self.study.seed),
            "stimuli": self.load(given.stimuli or shared.stimuli),
            "n_steps": shared.n_steps if given.n_steps is None else given.n_steps,
            "batch_size": shared.batch_size if given.batch_size is None else given.batch_size,
            "rate": given.rate,
            "labels": given.labels or shared.labels,
            "held_out": shared.held_out,
            "precision": shared.precision,
            "device": self.study.device,
            "seed": self.study.seed,
            "options": given.options,
        }

    @cached_property
    def _plan(self) -> Mapping[str, Any]:
        from netphys.training import training_plan

        return training_plan(**self._training)

    # Recording and RDMs

    def record(self) -> None:
        """Record the network while it is shown the study's stimuli, and make the RDMs of its layers."""
        from netphys.recording import load_recording
        from netphys.rsa import rdms

        sinks = self._sinks() if self.probed is None else []
        recorded = self._recorded(self.shown, "recording", keep=self.entry.keep, sinks=sinks)

        def make() -> list[Path]:
            named = replace(load_recording(recorded), name=self.name, training=self.training)
            made = provenance("rdms", {"method": self.study.rsa.rdm}, {"recording": self.digests["recording"]})
            return [save_rdms(rdms(named, method=self.study.rsa.rdm), self.rdm_path, made)]

        inputs = {
            "recording": self.digests["recording"],
            "labels": [self.name, self.training],
            "method": self.study.rsa.rdm,
            "code": code_digest("rsa", "studies"),
        }
        self.digests["rdms"] = self.steps.run(f"rdms/{self.name}", inputs, make)

    @property
    def rdm_path(self) -> Path:
        """The file of RDMs, one a layer."""
        return self.folder / "rdms" / f"{slug(self.name)}.h5"

    def recording_path(self, kind: str = "recording") -> Path:
        """Return the file of a recording: of the study's stimuli, or of those of the probe."""
        ending = "" if kind == "recording" else "--probe"
        return self.folder / "recordings" / f"{slug(self.name)}{ending}.h5"

    def _recorded(self, stimuli: StimulusSet, kind: str, *, keep: str, sinks: Sequence[TopPatches]) -> Path:
        """Record into a file, and save what the sinks made; one cached step."""
        from netphys.recording import record
        from netphys.recording.recorder import recording_plan

        options: dict[str, Any] = {
            "layers": self.entry.layers,
            "keep": keep,
            "device": self.study.device,
            "seed": self.study.seed,
        }
        plan = recording_plan(self.network, stimuli, **options)
        self.digests["network"] = str(plan["network"])
        path = self.recording_path(kind)

        def make() -> list[Path]:
            record(self.network, stimuli, **options, into=path, sinks=sinks, force=True)
            return [path, *(sink.close().save(self.top_path) for sink in sinks)]

        fed = {"sinks": [dict(sink.plan()) for sink in sinks], "code": [plan["code"], code_digest("units")]}
        inputs = {**plan, **(fed if sinks else {})}
        self.digests[kind] = self.steps.run(f"{kind}/{self.name}", inputs, make)
        return path

    # What a layer knows, and what its units are for

    def probe(self) -> Path | None:
        """Read the probe's labels out of every layer; top patches of all units are found in the same pass."""
        options, stimuli = self.study.probe, self.probed
        if options is None or stimuli is None:
            return None
        self._recorded(stimuli, "probe-recording", keep="pooled", sinks=self._sinks())
        path = self.folder / "probes" / f"{slug(self.name)}.csv"

        def make() -> list[Path]:
            return self.probe_result.save(path.parent, path.stem)

        inputs = {
            "recording": self.digests["probe-recording"],
            "options": [options.labels, options.groups, options.test, list(options.layers)],
            "labels": [self.name, self.training],
            "seed": self.study.seed,
            "code": code_digest("probes", "recording", "inference", "scores", "seeds", "studies"),
        }
        self.digests["probe"] = self.steps.run(f"probe/{self.name}", inputs, make)
        return path

    @cached_property
    def probe_result(self) -> ProbeResult:
        """What the probe reads out of every layer; needed by its own step, and by contrasts."""
        from netphys.probes import probe
        from netphys.recording import load_recording

        options = self.study.probe
        assert options is not None
        return probe(
            load_recording(self.recording_path("probe-recording")),
            options.labels,
            layers=options.layers or None,
            test=options.test,
            groups=options.groups or None,
            seed=self.study.seed,
            network=self.name,
            training=self.training,
        )

    def _sinks(self) -> list[TopPatches]:
        """Feed the recording pass to the search for top patches, where the study looks at units."""
        from netphys.units import TopPatches

        return [TopPatches(self.study.units.n_top)] if self.study.units is not None and self.has_units else []

    @property
    def top_path(self) -> Path:
        """The file of the stimuli that drive every unit most."""
        return ensure_folder(self.folder / "units" / slug(self.name)) / "top.h5"

    @property
    def has_units(self) -> bool:
        """Whether the study looks at this network's units."""
        import torch

        if self.study.units is None:
            return False
        if self.study.units.networks:
            return self.name in self.study.units.networks
        return any(isinstance(each, torch.nn.Conv2d) for each in self.network.module.modules())

    @cached_property
    def filters(self) -> FilterBank | None:
        """The filters of the first layer; None, and a word in the log, where there are none that see the image."""
        from netphys.units.filters import first_layer_filters

        try:
            return first_layer_filters(self.network)
        except OptionError as error:
            log.warning("no filters of %s are shown: %s", self.name, error)
            return None

    def unit_page(self) -> Path:
        """Write the page of the network's units: the patches that drive them most, filters of the first layer."""
        from netphys.studies.unit_pages import ExtraFigure, write_unit_pages
        from netphys.units import load_top_patches

        page = self.top_path.parent / "index.html"
        kind = "recording" if self.probed is None else "probe-recording"

        def make() -> list[Path]:
            extra = [ExtraFigure(each, "First-layer filters", FILTERS) for each in self._draw_filters()]
            stimuli = self.shown if self.probed is None else self.probed
            network = replace(self.network, name=self.name)
            write_unit_pages(
                self.folder,
                load_top_patches(self.top_path),
                stimuli,
                network,
                name=self.name,
                extra_figures=extra,
                home="../../index.html",
            )
            return sorted(path for path in page.parent.rglob("*") if path.is_file() and path != self.top_path)

        code = code_digest("units", "networks", "framing", "resampling", "colorimetry", "figures", "studies")
        self.digests["units"] = self.steps.run(
            f"units/{self.name}",
            {"recording": self.digests[kind], "labels": [self.name, self.training], "code": code},
            make,
        )
        return page

    def _draw_filters(self) -> list[Path]:
        """Draw the filters of this network alone, for the page of its units."""
        if self.filters is None:
            return []
        from netphys.figures import filters_figure, save_figure

        made = provenance("units.first_layer_filters", {}, {"network": self.digests["network"]})
        stem = self.top_path.parent / "filters"
        save_figure(filters_figure({self.name: self.filters}), stem, data=self.filters.to_frame(), made=made)
        return [stem.with_suffix(".png")]


def check_probe(study: Study, probed: StimulusSet | None) -> None:
    """Refuse a probe for a column that the stimuli do not have, or whose labels cannot be split.

    Raises
    ------
    StudyError
        Naming near columns, or saying why there can be no split.
    """
    if study.probe is None or probed is None:
        return
    from netphys.probes.splitting import hold_out

    options, metadata = study.probe, probed.metadata
    columns = list(map(str, metadata.columns))
    for key, column in (("labels", options.labels), ("groups", options.groups)):
        if column and column not in columns:
            raise StudyError(f"[probe] {key}: stimuli have no column {column!r}{near(column, columns)}")
        if column and metadata[column].isna().any():
            missing = probed.ids[int(metadata[column].isna().to_numpy().argmax())]
            raise StudyError(f"[probe] {key}: {missing!r} has no {column}; leave such stimuli out by where=")
    labels = [str(each) for each in metadata[options.labels]]
    groups = [str(each) for each in metadata[options.groups]] if options.groups else None
    try:
        hold_out(probed.ids, labels, options.test, groups=groups, seed=study.seed)
    except OptionError as error:
        raise StudyError(f"[probe] labels = {options.labels!r}: {error}") from None
