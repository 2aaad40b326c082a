"""The recording file as a state machine: whatever is done to it, it holds what a dict of arrays holds.

Steps: create, extend by more stimuli or more layers (written apart, then merged), read by a second reader, select,
close and open again, be killed in the midst of a commit, corrupt a byte. After damage the file is never wrong: what is
read of it is right, or it is one line of a RecordingError.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from netphys.errors import NetphysError, RecordingError
from netphys.recording import Recording, load_recording, verify
from netphys.recording.file.bfloat16 import storage_dtype, to_float32
from netphys.recording.file.entries import Entry
from netphys.recording.file.merging import merge_recordings, missing_of
from netphys.recording.file.store import Written, write_recording

SHAPES = [(5,), (1,), (3, 2, 2), (4, 3), (2, 0), (17, 9, 9)]
DIMS = {1: ("unit",), 2: ("unit", "token"), 3: ("unit", "y", "x")}
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=6)
IDS = st.lists(TEXTS, min_size=1, max_size=9, unique=True)


class Store(RuleBasedStateMachine):
    """The model: layer → its array, and the ids of their rows."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "rec.h5"
        self.ids: list[str] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.dtype, self.compression = "float32", None
        self.reader: Recording | None = None
        self.damaged = False
        self.rng = np.random.default_rng(0)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    # Steps

    @initialize(
        ids=IDS, n_layers=st.integers(1, 3), seed=st.integers(0, 99),
        dtype=st.sampled_from(["float32", "float16", "float64", "bfloat16"]),
        compression=st.sampled_from([None, "gzip", "lzf"]),
    )  # fmt: skip
    def create(self, ids: list[str], n_layers: int, seed: int, dtype: str, compression: str | None) -> None:
        self.rng, self.dtype, self.compression = np.random.default_rng(seed), dtype, compression
        self.ids = ids
        self.arrays = {f"layer/{n}": self._values(n, len(ids)) for n in range(n_layers)}
        self._write(self.path, self.ids, self.arrays)
        self.open()

    @precondition(lambda self: not self.damaged and len(self.ids) < 30)
    @rule(ids=IDS)
    def more_stimuli(self, ids: list[str]) -> None:
        new = [each for each in ids if each not in self.ids]
        assert missing_of(self.path, list(self.arrays), ids).stimulus_ids == tuple(new)
        if not new:
            return
        more = {name: self._values(int(name[-1]), len(new)) for name in self.arrays}
        self._write(self.folder / "part.h5", new, more)
        merge_recordings([self.path, self.folder / "part.h5"], into=self.path, force=True, compression=self.compression)
        self.ids = self.ids + new
        self.arrays = {name: np.concatenate([each, more[name]]) for name, each in self.arrays.items()}

    @precondition(lambda self: not self.damaged and len(self.arrays) < len(SHAPES))
    @rule(backwards=st.booleans())
    def more_layers(self, backwards: bool) -> None:
        n = len(self.arrays)
        values = self._values(n, len(self.ids))
        order = np.arange(len(self.ids))[:: -1 if backwards else 1]
        self._write(self.folder / "part.h5", [self.ids[row] for row in order], {f"layer/{n}": values[order]})
        merge_recordings([self.path, self.folder / "part.h5"], into=self.path, force=True, compression=self.compression)
        self.arrays[f"layer/{n}"] = values

    @rule()
    def open(self) -> None:
        try:
            self.reader = load_recording(self.path)
        except RecordingError:
            assert self.damaged
            self.reader = None

    @precondition(lambda self: self.reader is not None)
    @rule(data=st.data())
    def read(self, data: Any) -> None:
        """A reader that was opened long ago, and one of now, see the model or an error."""
        for reader in (self.reader, self._second()):
            if reader is None:
                continue
            layer = data.draw(st.sampled_from(reader.layers)) if not self.damaged else next(iter(reader.layers))
            rows = data.draw(st.lists(st.integers(0, len(reader) - 1), max_size=4))
            try:
                found = reader.read(layer, np.array(rows, dtype=np.int64))
            except RecordingError:
                assert self.damaged or reader is self.reader  # its file was replaced
                continue
            places = [self.ids.index(reader.stimulus_ids[row]) for row in rows]
            assert found.tobytes() == self._wide(self.arrays[layer][places]).tobytes()

    @precondition(lambda self: not self.damaged)
    @rule()
    def killed_in_a_commit(self) -> None:
        """What a killed writer leaves is a temporary file beside; the file is as it was."""
        (self.folder / f".{self.path.name}.99999999.netphys-tmp").write_bytes(self.path.read_bytes()[:1000])

    @precondition(lambda self: not self.damaged)
    @rule(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def corrupt(self, where: float, bit: int) -> None:
        data = bytearray(self.path.read_bytes())
        data[int(where * len(data))] ^= 1 << bit
        self.path.write_bytes(data)
        self.damaged = True
        try:
            verify(self.path)
        except RecordingError as error:
            assert "\n" not in str(error)
            return
        # the byte is of no account (free space, a stamp): all that can be read is right
        opened = load_recording(self.path)
        assert list(opened.stimulus_ids) == self.ids
        for layer, values in self.arrays.items():
            assert opened.array(layer).tobytes() == self._wide(values).tobytes()

    @precondition(lambda self: self.damaged)
    @rule()
    def mend(self) -> None:
        self._write(self.path, self.ids, self.arrays)
        self.damaged = False
        self.open()

    # What holds after every step

    @invariant()
    def the_file_is_the_model(self) -> None:
        if self.damaged or not self.ids:
            return
        verify(self.path)
        opened = load_recording(self.path)
        assert list(opened.stimulus_ids) == self.ids and opened.layers == tuple(self.arrays)
        for layer, values in self.arrays.items():
            assert opened.array(layer).tobytes() == self._wide(values).tobytes()

    # Parts

    def _second(self) -> Recording | None:
        try:
            return load_recording(self.path)
        except NetphysError:
            assert self.damaged
            return None

    def _wide(self, values: np.ndarray) -> np.ndarray:
        return to_float32(values) if self.dtype == "bfloat16" else values

    def _values(self, n: int, n_rows: int) -> np.ndarray:
        """Any bits at all: NaN, infinity, subnormal."""
        dtype = storage_dtype(self.dtype)
        n_bytes = n_rows * int(np.prod(SHAPES[n])) * dtype.itemsize
        return np.frombuffer(self.rng.bytes(n_bytes), dtype).reshape(n_rows, *SHAPES[n])

    def _write(self, path: Path, ids: list[str], arrays: dict[str, np.ndarray]) -> None:
        header = {
            "digest": f"{path.name} {len(ids)} {sorted(arrays)}", "network": "n", "training": "none", "keep": "all",
            "dtype": self.dtype, "provenance": {},
        }  # fmt: skip

        def rows(values: np.ndarray) -> Any:
            return lambda step: ((at, values[at : at + step]) for at in range(0, len(values), step))

        layers = [
            Written(Entry(name, "K", DIMS[each.ndim - 1], each.shape[1:], int(name[-1])), rows(each))
            for name, each in arrays.items()
        ]
        write_recording(
            path, layers, {"stimulus_id": np.array(ids, dtype=object)}, header, compression=self.compression
        )


def test_a_recording_file_is_a_dict_of_arrays() -> None:
    chosen = settings(
        max_examples=12, stateful_step_count=8, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(Store, settings=chosen)


@pytest.mark.slow
def test_a_recording_file_is_a_dict_of_arrays_at_length() -> None:
    chosen = settings(
        max_examples=60, stateful_step_count=15, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Store, settings=chosen)


def test_the_machine_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: a merge that loses the order of the stimuli, which this machine must see."""
    from netphys.recording.file import merging

    right = merging._fill

    def wrong(block: Any, at: np.ndarray, *rest: Any) -> None:
        right(block, at[::-1], *rest)

    monkeypatch.setattr(merging, "_fill", wrong)
    chosen = settings(
        max_examples=30, stateful_step_count=6, deadline=None, database=None, derandomize=True, print_blob=False,
        suppress_health_check=list(HealthCheck), report_multiple_bugs=False, phases=[Phase.generate],
    )  # fmt: skip
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Store, settings=chosen)
