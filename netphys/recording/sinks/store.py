"""Store: a second recording in the same pass, with layers, a way to keep and a dtype of its own.

All maps of one layer beside the means of all, say: one forward, two files. The file is the one that :func:`record`
would have made by itself: the same digest, the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import OptionError, RecordingError
from netphys.files import ensure_folder, require_free, sweep_file
from netphys.recording.keep import Fitted, Keep, Measuring, as_keep
from netphys.recording.sinks.buffers import Buffers, bytes_a_stimulus

if TYPE_CHECKING:
    import torch

    from netphys.recording.file.reading import Recording
    from netphys.recording.file.shards import Shards
    from netphys.recording.layers import Layer
    from netphys.recording.passing import Pass

__all__ = ["Store"]

_KEEP = "keep/"


class Store:
    """Record into a second file in the same pass: a sink of :func:`netphys.record`.

    Rows lie in shards of their own (``NAME.h5.partial/``) until the pass ends; a pass that goes on goes on here, too.

    Parameters
    ----------
    path : Path
        The HDF5 file.
    keep : str or Keep
        What is kept of a map (:mod:`netphys.recording.keep`).
    dtype : {"float32", "float16", "bfloat16"}
        Stored dtype.
    layers : str or sequence of str, optional
        Patterns of layers, of those that the pass records. Default: all of them.
    compression : {"gzip", "lzf"}, optional
        How the file is compressed.
    force : bool
        Replace another recording at `path`.

    Examples
    --------
    >>> import netphys, tempfile
    >>> sink = Store(tempfile.mkdtemp() + "/all.h5", dtype="float16")
    >>> means = netphys.record("netphys:gabor_energy", "world:scenes?n=3", layers="energy", keep="mean", sinks=[sink])
    >>> means.shape("energy"), sink.close().shape("energy")
    ((3, 40), (3, 40, 16, 16))
    """

    def __init__(
        self,
        path: Path | str,
        *,
        keep: Keep | str = "all",
        dtype: str = "float32",
        layers: str | Sequence[str] | None = None,
        compression: str | None = None,
        force: bool = False,
    ) -> None:
        self.path, self.keep, self.dtype, self.layers = Path(path), as_keep(keep), dtype, layers
        self.compression, self.force = compression, force
        if self.path.suffix not in (".h5", ".hdf5"):
            raise OptionError(f"a recording is an HDF5 file: {self.path.with_suffix('.h5')}, not {self.path}")
        self._run: Pass | None = None
        self._shards: Shards | None = None
        self._buffers: Buffers | None = None
        self._done = self._waiting = 0  # rows in shards, and in the buffers

    def plan(self) -> Mapping[str, Any]:
        """Say every option that the result depends on."""
        layers = self.layers if self.layers is None or isinstance(self.layers, str) else list(self.layers)
        return {**self._kept(), "dtype": self.dtype, "layers": layers}

    def _kept(self) -> dict[str, Any]:
        """Say what is kept as a recording's plan does: an address may hold a path, which no number hangs on."""
        kept = dict(self.keep.plan())
        return {"keep": kept.pop("keep", self.keep.address), **({"kept": kept} if kept else {})}

    def begin(self, run: Pass) -> None:
        """Take what the pass knows of network and stimuli, and see that the file can be made."""
        from netphys.recording.file.shards import cut_into
        from netphys.recording.passing import checked_dtype
        from netphys.recording.patterns import match_layers

        names = {each.name for each in run.layers}
        if self.layers is not None:
            names = set(match_layers(self.layers, run.layers, network=run.network.name))
        own = copy(run)
        own.layers = [each for each in run.layers if each.name in names]
        own.keep, own.dtype = self.keep, checked_dtype(self.dtype)
        own.plan = {key: value for key, value in run.plan.items() if key != "kept"}
        own.plan |= {"layers": [[each.name, *self.keep.shape(each)] for each in own.layers]}
        own.plan |= {**self._kept(), "dtype": self.dtype}
        if isinstance(self.keep, Fitted):
            self.keep.check(
                network=run.plan["network"],
                stimuli=run.plan["stimuli"],
                stimulus_ids=run.stimuli.ids,
                gradient_of=run.plan.get("gradient_of"),
            )
        n_rows = len(run.stimuli)
        self._cut = cut_into(n_rows, run.batch_size, bytes_a_stimulus(run.layers, run.keep, run.dtype))
        ensure_folder(self.path.parent)
        self._run, self._done, self._waiting = own, 0, 0
        self._require_place()
        a_stimulus = bytes_a_stimulus(own.layers, own.keep, own.dtype)
        require_free(self.path.parent, 2 * n_rows * a_stimulus, what=f"the recording {self.path.name}")

    def open(self, layers: Sequence[Layer], stimulus_ids: Sequence[str]) -> None:
        """Get ready."""
        if self._run is None:
            raise RecordingError("Store records what netphys.record shows; it cannot be fed by hand")
        run = self._run
        self._known = {each.name for each in run.layers}
        self._buffers = Buffers(run.layers, keep=run.keep, dtype=run.dtype, n_rows=self._cut.shard_rows)
        if isinstance(self.keep, Measuring):
            self.keep.load_state_dict({})

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        """Take one layer's activation."""
        if layer not in self._known:
            return
        assert self._buffers is not None
        if isinstance(self.keep, Measuring):
            self.keep.at(int(rows[0]))
        self._buffers.write(layer, int(rows[0]) - self._done, activation)
        self._waiting = int(rows[-1]) + 1 - self._done

    def close(self) -> Recording:
        """Pack the shards into the file; may be called again."""
        from netphys.recording.file.reading import load_recording
        from netphys.recording.into_file import packed

        if self._waiting:
            self._flush()
        if self._shards is not None and self._run is not None:
            sweep_file(self.path)
            packed(self.path, self._run, self._shards, self._measured(), self.compression)
            self._shards.remove()
            self._shards = None
        return load_recording(self.path)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Bring what was written to disk, and say how many rows are there."""
        if self._waiting:
            self._flush()
        kept = {_KEEP + key: np.asarray(value) for key, value in self.keep.state_dict().items()}
        return {"rows": np.array([self._done]), **kept}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on behind so many rows; what was written beyond them is written again.

        Raises
        ------
        RecordingError
            If they are no longer there.
        """
        from netphys.recording.file.shards import agrees, remove_shards

        rows = int(state["rows"][0])
        self.keep.load_state_dict({key.removeprefix(_KEEP): state[key] for key in state if key.startswith(_KEEP)})
        self._done = rows
        if rows == self._cut.n_rows and self._is_there():  # killed when it was packed, and before the pass ended
            assert self._run is not None
            plan = self._partial / "plan.json"
            if not plan.exists() or agrees(self._partial, self._run.plan):
                remove_shards(self._partial)  # what of it is left
                return
        self._shards = self._opened()
        lost = [index for index in self._shards.missing if self._cut.rows(index).start < rows]
        if lost:
            raise RecordingError(
                f"{self._partial} has lost shard {lost[0]}, which the pass relies on; --force records all anew"
            )

    @property
    def _partial(self) -> Path:
        return self.path.with_name(self.path.name + ".partial")

    def _flush(self) -> None:
        """Commit the rows in the buffers as a shard."""
        assert self._buffers is not None
        if self._shards is None:
            self._shards = self._opened()
        index = self._done // self._cut.shard_rows
        if len(self._cut.rows(index)) != self._waiting:
            raise RecordingError(f"Store was given {self._waiting} rows, a shard has {len(self._cut.rows(index))}")
        self._shards.append(index, self._buffers.arrays)
        self._done, self._waiting = self._done + self._waiting, 0

    def _opened(self) -> Shards:
        from netphys.recording.file import shards as sharding

        run = self._run
        assert run is not None
        if self.force and not sharding.agrees(self._partial, run.plan):
            sharding.remove_shards(self._partial)
        shapes = {each.name: run.keep.shape(each) for each in run.layers}
        return sharding.Shards(self._partial, run.plan, shapes, run.dtype, cut=self._cut)

    def _measured(self) -> dict[str, Any]:
        assert self._run is not None
        return {each.name: dict(self.keep.measured(each)) for each in self._run.layers}

    def _is_there(self) -> bool:
        """Tell whether the file is this recording, finished."""
        from netphys.recording.file.schema import read_header
        from netphys.recording.plan import recording_digest

        assert self._run is not None
        return (
            bool(read_header(self.path)["digest"] == recording_digest(self._run.plan)) if self.path.exists() else False
        )

    def _require_place(self) -> None:
        """See that nothing else is in the way."""
        if self.force or not self.path.exists():
            return
        try:
            there = self._is_there()
        except RecordingError as error:
            raise RecordingError(f"{self.path} is in the way ({error}); Store(force=True) replaces it") from None
        if not there:
            raise RecordingError(f"{self.path} holds another recording; Store(force=True) replaces it")
