"""measure: feed sinks in one pass over the stimuli, and store no activations.

With a file to save into, the sinks' states are committed now and then; the same call goes on after a kill, and ends
with the bits of an undisturbed pass. When a state is saved changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import OptionError, RecordingError
from netphys.files import committing, ensure_folder, locked, sweep_file
from netphys.progress import bar
from netphys.recording.passing import Pass
from netphys.recording.plan import sink_plans
from netphys.recording.sinks import Sink, require_sinks, sink_name

if TYPE_CHECKING:
    import torch

    from netphys.networks import Network
    from netphys.stimuli import StimulusSet

__all__ = ["measure"]

_FORMAT = "netphys sinks 1"
_EVERY = 30.0  # seconds between two savings, at least
_SHARE = 0.05  # of the time that saving may take: a state of gigabytes is saved less often


def measure(
    network: Network | torch.nn.Module | str,
    stimuli: StimulusSet | str | Any,
    *,
    layers: str | Sequence[str],
    sinks: Sequence[Sink],
    into: Path | str | None = None,
    batch_size: int = 32,
    device: str = "auto",
    seed: int = 0,
) -> list[Any]:
    """Show stimuli to a network and feed sinks with what its layers do, in one pass; activations are not kept.

    Parameters
    ----------
    network : Network, torch.nn.Module or address
        Any network; it is left as it was found.
    stimuli : StimulusSet, address, or array (stimulus, 3, y, x)
        What is shown.
    layers : str or sequence of str
        Layer patterns, see :mod:`netphys.recording.patterns`.
    sinks : sequence of Sink
        What is fed; each may be used once more later, it then begins anew.
    into : Path, optional
        A ``.safetensors`` file for the states of the sinks. The same call goes on where it was stopped, and, once all
        stimuli have been seen, gives the results without showing them again. Default: memory only.
    batch_size, device, seed
        As of :func:`netphys.record`.

    Returns
    -------
    list
        What ``close()`` of each sink returned, in their order; where that has fields ``network`` and ``made``, they
        hold the network's name and the provenance of the pass.

    Raises
    ------
    LayerNotFound
        If a pattern matches no layer.
    RecordingError
        If a layer cannot be recorded, or `into` was begun with another network, other stimuli, options or sinks.
    OptionError
        If there are no sinks, or `into` is given and a sink has no ``plan()`` that says its options.

    Examples
    --------
    >>> from netphys.recording.sinks import Moments, Quantiles
    >>> sinks = [Moments(), Quantiles(q=0.995)]
    >>> measure("netphys:gabor_energy", "world:scenes?n=5", layers="energy", sinks=sinks)[1]
    QuantilesResult(netphys:gabor_energy: 1 layer x 5 stimuli, q = 0.995, exact)
    """
    sinks = require_sinks(sinks)
    if not sinks:
        raise OptionError("sinks=[]: nothing would be measured; give at least one, say Moments()")
    if into is not None:
        _check(Path(into), sinks)
    run = Pass(
        network, stimuli, layers, keep="all", dtype="float32", batch_size=batch_size, device=device, seed=seed
    )  # fmt: skip
    if into is None:
        _feed(run, sinks, None)
    else:
        path = Path(into)
        ensure_folder(path.parent)
        waiting = f"waiting for another process that is measuring into {path}"
        with locked(path.with_name(f".{path.name}.lock"), waiting=waiting):
            sweep_file(path)
            _feed(run, sinks, _Saved(path, {**run.plan, "sinks": sink_plans(sinks)}))
    return [_signed(sink.close(), run) for sink in sinks]


def _check(path: Path, sinks: Sequence[Sink]) -> None:
    if path.suffix != ".safetensors":
        raise OptionError(f"states of sinks are a safetensors file: {path.with_suffix('.safetensors')}, not {path}")
    for sink in sinks:
        if not hasattr(sink, "plan"):
            raise OptionError(
                f"the sink {sink_name(sink)} has no plan() that says its options, so it cannot go on after a stop; "
                "leave it out, or give no into="
            )


def _feed(run: Pass, sinks: Sequence[Sink], saved: _Saved | None) -> None:
    """Run all batches that are missing."""
    start, states = saved.read() if saved else (0, {})
    n, done = len(run.stimuli), start
    run.open(sinks, states)
    if done < n:
        run.require_independent()
    with bar(n, label=f"measuring {run.network.name}") as progress:
        progress.update(done)
        for rows in run.batches(start, [sink.write for sink in sinks]) if done < n else ():
            done = int(rows[-1]) + 1
            if saved and (saved.is_due() or done == n):
                saved.write(done, sinks)
            progress.update(len(rows))


@dataclass
class _Saved:
    """The file that holds the states of sinks, and what pass they belong to."""

    path: Path
    plan: Mapping[str, Any]
    _latest: float = 0.0
    _cost: float = 0.0

    def __post_init__(self) -> None:
        self._latest = time.monotonic()

    def is_due(self) -> bool:
        """Tell whether it is time to save."""
        return time.monotonic() - self._latest >= max(_EVERY, self._cost / _SHARE)

    def write(self, n_rows: int, sinks: Sequence[Sink]) -> None:
        """Commit the states of all sinks after `n_rows` stimuli."""
        from safetensors.numpy import save_file

        began = time.monotonic()
        states = {
            f"{index}/{key}": np.ascontiguousarray(value)
            for index, sink in enumerate(sinks)
            for key, value in sink.state_dict().items()
        }
        about = {"format": _FORMAT, "n_rows": str(n_rows), "plan": json.dumps(self.plan, sort_keys=True)}
        about["sha256"] = _digest(about, states)
        with committing(self.path) as temporary:
            save_file(states, temporary, about)
        self._latest = time.monotonic()
        self._cost = self._latest - began

    def read(self) -> tuple[int, dict[str, np.ndarray]]:
        """Return how many stimuli have been seen, and the states after them; (0, {}) where nothing was begun.

        Raises
        ------
        RecordingError
            If the file is damaged, or belongs to another pass: naming what differs.
        """
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return 0, {}
        try:
            with safe_open(self.path, framework="numpy") as file:
                about = dict(file.metadata() or {})
                states = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no mapping
        except (SafetensorError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise RecordingError(f"{self.path} is damaged or holds no states ({reason}); remove it") from None
        digest = about.pop("sha256", "")
        if about.get("format") != _FORMAT:
            raise RecordingError(f"{self.path} holds something else than states of sinks; give another into=")
        if digest != _digest(about, states):
            raise RecordingError(f"{self.path} is not what was written (checksum); remove it and measure again")
        differing = _differing(json.loads(json.dumps(self.plan)), json.loads(about["plan"]))
        if differing:
            raise RecordingError(
                f"{self.path} was begun with other {', '.join(differing)}; remove it, or give another into="
            )
        return int(about["n_rows"]), states


def _digest(about: Mapping[str, str], states: Mapping[str, np.ndarray]) -> str:
    """Digest what is said of states, and every one of them."""
    sha = hashlib.sha256(json.dumps(dict(about), sort_keys=True).encode())
    for key, value in sorted(states.items()):
        sha.update(f"{key}\x1f{value.dtype.str}{value.shape}".encode())
        sha.update(np.ascontiguousarray(value).data.cast("B") if value.size else b"")
    return sha.hexdigest()


def _differing(plan: Mapping[str, Any], begun: Mapping[str, Any]) -> list[str]:
    """Name what differs between two plans; of the same sinks the one whose options do."""
    found = sorted(key for key in plan.keys() | begun.keys() if plan.get(key) != begun.get(key))
    ours, theirs = plan["sinks"], begun.get("sinks", {})
    if "sinks" not in found or ours.keys() != theirs.keys():
        return found
    odd = next(key for key in ours if ours[key] != theirs[key])
    options = sorted(key for key in ours[odd].keys() | theirs[odd].keys() if ours[odd].get(key) != theirs[odd].get(key))
    what = f"{', '.join(options)} of the sink {odd.rpartition('.')[2]}"
    return [what if key == "sinks" else key for key in found]


def _signed(result: Any, run: Pass) -> Any:
    """Write the network's name and the provenance into a result that has room for them."""
    if not is_dataclass(result) or isinstance(result, type):
        return result
    if not {"network", "made"} <= {each.name for each in fields(result)}:
        return result
    return replace(result, network=run.network.name, made=run.what_made_it())
