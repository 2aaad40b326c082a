"""What was done, in a paper's words, with citations: ``methods.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from netphys.networks import Network, Preprocess
from netphys.provenance import versions
from netphys.rsa.comparison import MEASURE_NAMES
from netphys.studies.captions import GROUPED
from netphys.studies.study import RSAOptions

if TYPE_CHECKING:
    import pandas as pd

    from netphys.studies.made import Made
    from netphys.studies.participant import Participant

__all__ = ["analysis_text", "methods_text", "references_text", "rsa_references", "software_text"]

_REFERENCES = {
    "devalois": "De Valois RL, Albrecht DG, Thorell LG (1982). Spatial frequency selectivity of cells in macaque "
    "visual cortex. Vision Res 22:545.",
    "ringach": "Ringach DL (2002). Spatial structure and symmetry of simple-cell receptive fields in macaque primary "
    "visual cortex. J Neurophysiol 88:455.",
    "portilla": "Portilla J, Simoncelli EP (2000). A parametric texture model based on joint statistics of complex "
    "wavelet coefficients. Int J Comput Vis 40:49. doi:10.1023/A:1026553619983",
    "freeman": "Freeman J, Ziemba CM, Heeger DJ, Simoncelli EP, Movshon JA (2013). A functional and perceptual "
    "signature of the second visual area in primates. Nat Neurosci 16:974. doi:10.1038/nn.3402",
    "okazawa": "Okazawa G, Tajima S, Komatsu H (2015). Image statistics underlying natural texture selectivity of "
    "neurons in macaque V4. PNAS 112:E351. doi:10.1073/pnas.1415146112",
    "heeger": "Heeger DJ (1992). Normalization of cell responses in cat striate cortex. Vis Neurosci 9:181.",
    "kriegeskorte": "Kriegeskorte N, Mur M, Bandettini P (2008). Representational similarity analysis. "
    "Front Syst Neurosci 2:4. doi:10.3389/neuro.06.004.2008",
    "nili": "Nili H, Wingfield C, Walther A, Su L, Marslen-Wilson W, Kriegeskorte N (2014). A toolbox for "
    "representational similarity analysis. PLoS Comput Biol 10:e1003553. doi:10.1371/journal.pcbi.1003553",
    "schutt": "Schütt HH, Kipnis AD, Diedrichsen J, Kriegeskorte N (2023). Statistical inference on representational "
    "geometries. eLife 12:e82566. doi:10.7554/eLife.82566",
    "benjamini": "Benjamini Y, Hochberg Y (1995). Controlling the false discovery rate. J R Stat Soc B 57:289. "
    "doi:10.1111/j.2517-6161.1995.tb02031.x",
    "loshchilov": "Loshchilov I, Hutter F (2019). Decoupled weight decay regularization. ICLR.",
    "krizhevsky": "Krizhevsky A, Sutskever I, Hinton GE (2012). ImageNet classification with deep convolutional neural "
    "networks. NIPS 25.",
    "zhang": "Zhang R, Isola P, Efros AA (2016). Colorful image colorization. ECCV. doi:10.1007/978-3-319-46487-9_40",
    "chen": "Chen T, Kornblith S, Norouzi M, Hinton G (2020). A simple framework for contrastive learning of visual "
    "representations. ICML.",
    "zeiler": "Zeiler MD, Fergus R (2014). Visualizing and understanding convolutional networks. ECCV. "
    "doi:10.1007/978-3-319-10590-1_53",
    "alain": "Alain G, Bengio Y (2016). Understanding intermediate layers using linear classifier probes. "
    "arXiv:1610.01644",
    "adelson": "Adelson EH, Bergen JR (1985). Spatiotemporal energy models for the perception of motion. "
    "J Opt Soc Am A 2:284. doi:10.1364/JOSAA.2.000284",
}


_PAPERS = {"supervised": "krizhevsky", "colorization": "zhang", "simclr": "chen"}  # of objectives


def methods_text(made: Made) -> str:
    """Write the methods section of a study as Markdown."""
    parts = [
        f"# Methods: {made.study.title}",
        _stimuli(made),
        _networks(made),
        *_trainings(made),
        *_units(made),
        *_probe(made),
        _neural(made),
        analysis_text(made.study.rsa, made.neural_scores, kept={each.name: each.keep for each in made.study.networks}),
        *_contrasts(made),
        f"{software_text()} Seed {made.study.seed}; `study.toml` repeats the analysis.",
        references_text(_cited(made)),
    ]
    return "\n\n".join(parts) + "\n"


def _stimuli(made: Made) -> str:
    address = made.study.stimuli.address
    text = f"**Stimuli.** {len(made.stimuli)} images from `{address}` (digest `{made.stimuli.digest[:12]}`)"
    if address.startswith("world:"):
        text += (
            ", generated scenes of textured, shaded objects on backgrounds; the kind of scene decides which objects "
            "are likely, and every latent variable is known"
        )
    if made.stimuli.conversions:
        text += "; files were converted: " + ", ".join(f"{word} ({n})" for word, n in made.stimuli.conversions.items())
    if made.stimuli.treatment:
        text += f"; before they were shown they were treated: `{made.stimuli.treatment}`"
    if made.stimuli.left_out:
        text += f"; {len(made.stimuli.left_out)} broken files were left out"
    return text + "."


def _networks(made: Made) -> str:
    lines = []
    for entry in made.study.networks:
        network = made.participants[entry.name].network
        layers = made.scores.loc[made.scores["network"] == entry.name, "layer"].nunique()
        training, plural = _training(entry.training or network.training), "s" * (layers != 1)
        lines.append(
            f"{entry.name} (`{entry.address}`, {training}; {layers} layer{plural}; images {_preprocessing(network)}; "
            f"digest `{made.participants[entry.name].digests['network'][:12]}`)"
        )
    return (
        "**Networks.** Activations were recorded in eval mode in one forward pass, in float32, in batches of 32 (the "
        "last one padded), at the moment each layer returned them, so that in-place operations that follow change "
        "nothing. The networks were " + "; ".join(lines) + "."
    )


def _trainings(made: Made) -> list[str]:
    """Say how networks were trained in the package; nothing where none was."""
    trained = [each for each in made.participants.values() if each.entry.train is not None]
    if not trained:
        return []
    from netphys.training import load_training

    lines = []
    for each in trained:
        result = load_training(each.home)
        plan, entry = result.plan, each.entry.train
        paper = (
            f" ({result.objective.reference_paper})" if result.objective and result.objective.reference_paper else ""
        )
        options = ", ".join(
            f"{key} {value}" for key, value in plan["options"].items() if not isinstance(value, list | dict)
        )
        beside = ", ".join(f"{name} {value:.3f}" for name, value in result.references.items())
        assert entry is not None
        lines.append(
            f"{each.name}: {plan['objective']}{paper}, {plan['n_steps']} steps of {plan['batch_size']} stimuli of "
            f"`{entry.stimuli or made.study.training.stimuli}`, highest rate {plan['rate']:g}, in {plan['precision']}; "
            f"{options}; loss on held-out stimuli {result.held_out:.3f} ({beside})"
        )
    return [
        "**Training.** From the state that their address gives networks were trained by AdamW (Loshchilov & Hutter, "
        "2019; weight "
        "decay of kernels and matrices only) with a linear warm-up and half a cosine of the rate, on views drawn anew "
        "at every "
        f"step; {made.study.training.held_out:.0%} of the stimuli were held out. " + ". ".join(lines) + "."
    ]


def _units(made: Made) -> list[str]:
    """Say how units were looked at."""
    if made.study.units is None or not made.units:
        return []
    probed = next(iter(made.participants.values())).probed
    shown = made.stimuli if probed is None else probed
    fitted = [name for name in made.units if _has_large_filters(made.participants[name])]
    text = (
        f"**Units.** For every unit of every recorded layer of {', '.join(made.units)} the {made.study.units.n_top} of "
        f"{len(shown)} stimuli with the largest activation at any position were found during the recording, ties "
        f"broken "
        "by the order of the stimuli; patches are the theoretical receptive fields around these positions, or the "
        "whole "
        "image where the page of the units says so."
    )
    if fitted:
        text += f" Filters of the first layer of {', '.join(fitted)} were fitted by Gabor functions."
    return [text]


def _has_large_filters(participant: Participant) -> bool:
    """Tell whether filters are large enough to be fitted."""
    from netphys.units.gabor import SMALLEST

    return participant.filters is not None and min(participant.filters.filters.shape[2:]) >= SMALLEST


def _probe(made: Made) -> list[str]:
    """Say how layers were probed."""
    options = made.study.probe
    if options is None:
        return []
    n_test = int(made.probe_scores["n_stimuli"].iloc[0])
    probed = next(iter(made.participants.values())).probed
    address = options.stimuli or made.study.stimuli.address
    text = (
        f"**Linear probes.** {options.labels.replace('_', ' ').capitalize()} was read out of every layer's response to "
        f"`{address}`: means over a grid of each map, at most 512 numbers a layer (or one a unit where there are "
        f"more), "
        "standardised on the training part; multinomial logistic regression with an L2 penalty, that of the least "
        f"cross-entropy on a held fifth of the training part; accuracy on {n_test} of {len(probed or ())} stimuli "
        f"that had "
        "no part in either, the same for all layers and networks. Intervals are Wilson's, p exact (binomial) against "
        "the "
        "largest class."
    )
    if options.groups:
        text += f" {GROUPED.format(groups=options.groups)}"
    return [text]


def _contrasts(made: Made) -> list[str]:
    """Say how trained networks were compared with their controls."""
    if made.contrasts is None:
        return []
    return [
        "**What training changed.** Scores of a trained network and of its untrained control were compared layer by "
        "layer on the same stimuli: agreement with neural data by the variance of the paired difference over the "
        "bootstrap draws (t, n - 1 degrees of freedom), probes by the test stimuli that one network had right and the "
        "other wrong; p were adjusted over the layers of a network and set of data (Benjamini & Hochberg, 1995)."
    ]


def _training(training: str) -> str:
    known = {
        "none": "without learned weights",
        "pretrained": "trained weights",
        "untrained": "untrained",
        "unknown": "training not stated",
    }
    return known.get(training, f"trained by {training}")


def _preprocessing(network: Network) -> str:
    """Say what was done to an image before the network saw it."""
    if not isinstance(network.preprocess, Preprocess):
        return "as they are"
    given, words = network.preprocess, []
    if isinstance(given.resize, int):
        words.append(f"resized to {given.resize} pixels on the short side")
    elif given.resize:
        words.append(f"resized to {given.resize[0]} × {given.resize[1]} pixels ({given.interpolation}, antialiased)")
    if given.crop:
        words.append(f"cropped to the centre {given.crop} pixels")
    if given.mean != (0.0, 0.0, 0.0):
        mean, std = (", ".join(f"{value:g}" for value in each) for each in (given.mean, given.std))
        words.append(f"normalised by mean ({mean}) and sd ({std})")
    else:
        words.append("in [0, 1], not normalised")
    return ", ".join(words)


def _neural(made: Made) -> str:
    lines = []
    for name, brain in made.brains.items():
        facts = brain.facts
        n = len(facts["subjects"])
        text = f"{name}: {_recorded(facts, n)}; {facts['source']}"
        if "reliability" in facts["attributes"]:
            simulated = facts["attributes"]
            text += (
                f" ({facts['n_neuroids'] // n} neuroids a subject, {simulated['n_repetitions']} repetitions; "
                f"{simulated['shared']:.0%} of a neuroid's signal variance follows what drives the region, the rest is "
                f"its own; reliability of its mean {simulated['reliability']:.2f})"
            )
        lines.append(text)
    return "**Neural data.** " + ". ".join(lines) + "."


def _recorded(facts: dict[str, Any], n: int) -> str:
    """Say what was recorded, and from how many."""
    if facts["kind"] == "rdms":
        return "one RDM" if n == 1 else f"RDMs of {n} subjects"
    where = f" of {facts['region']}" if facts["region"] else ""
    whose = f" of {n} animal{'s' * (n != 1)}" if n else ""
    return f"{facts['n_neuroids']} neuroids{where}{whose}, {facts['n_presentations']} presentations"


def analysis_text(options: RSAOptions, scores: pd.DataFrame, *, kept: Mapping[str, str] | None = None) -> str:
    """Say how RDMs were made and compared; `kept` is what was recorded of the maps of each network."""
    counts = dict(zip(scores["dataset"], scores["n_stimuli"].astype(int)))
    shown = {n: f"{n} stimuli ({n * (n - 1) // 2} pairs)" for n in counts.values()}
    if len(shown) == 1:
        stimuli = f"the {next(iter(shown.values()))}"
    else:
        stimuli = "the stimuli of the neural data: " + ", ".join(f"{name}, {shown[n]}" for name, n in counts.items())
    text = (
        f"**Representational similarity analysis.** For every layer, {_pattern(kept or {})} made one pattern a "
        "stimulus; the representational dissimilarity matrix (RDM; Kriegeskorte et al., 2008) holds the "
        f"{options.rdm} distance of every pair of {stimuli}. RDMs were compared by "
        f"{MEASURE_NAMES[options.compare]}; the score is the mean over subjects. The noise ceiling (Nili et al., "
        "2014) is the mean agreement of each subject with the pooled RDM of the others (lower bound) and of all (upper "
        "bound); a single RDM has none."
    )
    if options.n_bootstraps:
        text += (
            f" Variances are n/(n-1) times those over {options.n_bootstraps} bootstrap draws of the n stimuli, pairs "
            "of a stimulus with itself left out (Schütt et al., 2023); intervals are 95 % (t, n - 1 degrees of "
            "freedom), p one-sided against 0, marked at a false discovery rate of 5 % (Benjamini & Hochberg, 1995). "
            "They speak of other stimuli, not of other subjects."
        )
    return text


_KEPT = {
    "mean": "means over positions",
    "max": "maxima over positions",
    "centre": "the centre position",
    "pooled": "means over a grid of at most 512 numbers a layer",
}


def _pattern(kept: Mapping[str, str]) -> str:
    """Say what a pattern is made of, for networks of which not all positions were recorded."""
    odd = {name: _KEPT.get(keep, keep) for name, keep in kept.items() if keep != "all"}
    if not odd:
        return "all units at all positions"
    said = "; ".join(f"of {name} {what}" for name, what in odd.items())
    return f"all units ({said})" if len(odd) == len(kept) else f"all units at all positions ({said})"


def software_text() -> str:
    """Name the software and its versions."""
    return "**Software.** " + ", ".join(f"{name} {version}" for name, version in versions().items()) + "."


def references_text(keys: Sequence[str]) -> str:
    """List the papers that were cited."""
    return "## References\n\n" + "\n".join(f"- {_REFERENCES[key]}" for key in keys)


def rsa_references(options: RSAOptions) -> list[str]:
    """Name the papers that :func:`analysis_text` cites."""
    return ["kriegeskorte", "nili", *(["schutt", "benjamini"] if options.n_bootstraps else [])]


def _cited(made: Made) -> list[str]:
    keys = rsa_references(made.study.rsa)
    objectives = {each.train.objective for each in made.study.networks if each.train is not None}
    keys += ["loshchilov"] * bool(objectives)
    keys += [paper for name, paper in _PAPERS.items() if name in objectives]
    keys += ["zeiler"] * bool(made.units) + ["alain"] * (made.study.probe is not None)
    addresses = [each.address for each in made.study.networks] + [each.address for each in made.study.neural]
    if any("gabor_energy" in address or "region=V1" in address for address in addresses):
        keys.append("adelson")
    if any("region=V1" in address for address in addresses):
        keys += ["devalois", "ringach", "heeger"]
    if any("region=V4" in address for address in addresses):
        keys += ["portilla", "freeman", "okazawa"]
    return keys
