"""The plan of a recording: everything that its numbers depend on, as plain data, said before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.devices import describe_device
from netphys.networks import Network
from netphys.provenance import code_digest, digest, provenance, versions
from netphys.recording.keep import Keep
from netphys.recording.layers import Layer
from netphys.recording.running import compute_dtype
from netphys.recording.sinks import Sink, sink_name

if TYPE_CHECKING:
    import torch

    from netphys.stimuli import StimulusSet

__all__ = ["make_plan", "numerics", "recording_digest", "sink_plans", "what_made_it"]


def recording_digest(plan: Mapping[str, Any]) -> str:
    """Digest of everything that a recording's numbers depend on."""
    return digest(plan)


def make_plan(
    network: Network,
    inputs: Mapping[str, str],
    layers: Sequence[Layer],
    keep: Keep,
    *,
    device: torch.device,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Gather all that the numbers depend on; what differs is named when a resumed recording is refused.

    Parameters
    ----------
    network : Network
        What is recorded from.
    inputs : mapping
        Digests of ``network`` and ``stimuli``, taken before any forward, and of the ``metadata`` that is stored.
    layers : sequence of Layer
        What is recorded.
    keep : Keep
        What is kept of each.
    device : torch.device
        Where it is computed.
    options : mapping
        ``dtype``, ``batch_size``, ``seed``.
    """
    import torch

    dtype, kept = compute_dtype(network.module), dict(keep.plan())
    return {
        **inputs,
        "layers": [[each.name, *keep.shape(each)] for each in layers],
        "keep": kept.pop("keep", keep.address),  # an address may hold a path, which no number hangs on
        **({"kept": kept} if kept else {}),
        **options,
        "device": device.type,
        **({} if dtype == torch.float32 else {"compute": str(dtype).removeprefix("torch.")}),
        "numerics": numerics(device),
        "code": code_digest("recording", "networks", "colorimetry", "framing", "resampling"),
        "versions": {key: value for key, value in versions().items() if key.startswith("torch")},
    }


def numerics(device: torch.device) -> dict[str, Any]:
    """Say how torch is set to compute on a device: switches that change results far beyond the last bits."""
    import torch

    backends = torch.backends
    found: dict[str, Any] = {"deterministic": torch.are_deterministic_algorithms_enabled()}
    if device.type == "cuda":
        found["deterministic"] |= backends.cudnn.deterministic
        found |= {"matmul": _precision(backends.cuda.matmul), "conv": _precision(getattr(backends.cudnn, "conv", None))}
        found |= {"cudnn": backends.cudnn.enabled, "benchmark": backends.cudnn.benchmark}
        if not hasattr(backends.cuda.matmul, "fp32_precision"):  # torch < 2.9
            found |= {"matmul": backends.cuda.matmul.allow_tf32, "conv": backends.cudnn.allow_tf32}
        return found
    mkldnn: Any = backends.mkldnn
    found |= {"mkldnn": bool(mkldnn.enabled), "flush_denormal": not (torch.full((1,), 1e-39) * 1).any().item()}
    if hasattr(mkldnn, "matmul"):
        return found | {"matmul": _precision(mkldnn.matmul), "conv": _precision(mkldnn.conv)}
    return found | {"matmul": torch.get_float32_matmul_precision()}


def _precision(backend: Any) -> str:
    """How float32 is computed with; ``none`` means that nobody lowered it."""
    value = str(getattr(backend, "fp32_precision", "none"))
    return "ieee" if value == "none" else value


def sink_plans(sinks: Sequence[Sink]) -> dict[str, Any]:
    """Options of each sink by their digests; None for a sink that does not say."""
    return {
        f"{index} {sink_name(sink)}": {key: digest(value) for key, value in sink.plan().items()}
        if hasattr(sink, "plan")
        else None
        for index, sink in enumerate(sinks)
    }


def what_made_it(
    plan: Mapping[str, Any], network: Network, stimuli: StimulusSet, device: Any, *, degrees: float | None = None
) -> dict[str, Any]:
    """Gather the provenance that the recording carries; `degrees` of visual angle are those that the network saw."""
    return provenance(
        "record",
        {key: plan[key] for key in ("layers", "keep", "dtype", "batch_size")},
        {"network": plan["network"], "stimuli": plan["stimuli"]},
        network_address=network.address,
        preprocess=repr(network.preprocess),
        gradient_of=plan.get("gradient_of"),
        stimuli=stimuli.name,
        n_stimuli=len(stimuli),
        stimuli_address=stimuli.address or "none: made in Python",
        treatment=stimuli.treatment or "none",
        targets=stimuli.targets,
        clipped_share=_clipped_share(stimuli),
        degrees_seen=degrees,
        conversions=stimuli.conversions,
        seed=plan["seed"],
        device=describe_device(device),
        compute=plan.get("compute", "float32"),
        numerics=plan["numerics"],
        tf32="tf32" in plan["numerics"].values() or (device.type == "cuda" and plan["numerics"]["matmul"] is True),
        batch_plan=f"batches of {plan['batch_size']} in order, the last one padded",
    )


def _clipped_share(stimuli: StimulusSet) -> float | None:
    """Average what a treatment clipped of the stimuli; None where nothing was treated."""
    shares = stimuli.clipped() if "image" in stimuli.fields else None
    return None if shares is None or np.isnan(shares).all() else float(np.nanmean(shares))
