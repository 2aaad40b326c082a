"""netphys.provenance: a digest changes with everything that changes the numbers, and with nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from netphys.provenance import array_digest, code_digest, digest, provenance, versions


def test_order_of_keys_container_and_strides_do_not_count() -> None:
    array = np.arange(12.0).reshape(3, 4)
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": (1, 2), "a": 1})
    assert array_digest(array) == array_digest(np.asfortranarray(array)) == array_digest(array[::-1][::-1])
    assert (
        digest(np.float64(0.5)) == digest(0.5)
        and digest(np.int8(3)) == digest(3)
        and digest(np.bool_(1)) == digest(True)
    )


def test_every_change_counts() -> None:
    array = np.arange(12.0)
    changed = array.copy()
    changed[5] = np.nextafter(changed[5], 9)
    values = [
        array, changed, array.reshape(3, 4), array[::-1], array.astype(np.float32), array.astype(">f8"), array[:11],
        {"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": True}, {"b": 1}, {"a": None}, [1, 2], [2, 1], [[1], 2],
        0.0, -0.0, 1e-300, float("inf"), "", None, [], {}, np.zeros((0, 3)), np.zeros((3, 0)),
    ]  # fmt: skip
    assert len({digest(each) for each in values}) == len(values)


def test_odd_arrays_have_digests() -> None:
    for odd in (np.array(3.0), np.zeros(0), np.array([True]), np.array(["é"]), np.array([np.nan, np.inf])):
        assert len(array_digest(odd)) == 64


def test_what_has_no_digest_is_refused() -> None:
    with pytest.raises(TypeError, match="no digest is defined for object"):
        digest({"a": object()})


def test_a_digest_is_the_same_in_another_process() -> None:
    script = "from netphys.provenance import digest; print(digest({'seed': 1, 'names': ['a', 'b']}), end='')"
    other = subprocess.check_output([sys.executable, "-c", script], text=True, env={"PYTHONHASHSEED": "7"})
    assert other == digest({"names": ["a", "b"], "seed": 1})


def test_code_digest_follows_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import netphys.provenance as module

    (tmp_path / "room").mkdir()
    file = tmp_path / "room" / "a.py"
    file.write_text("x = 1\n")
    monkeypatch.setattr(module, "_PACKAGE", tmp_path)
    code_digest.cache_clear()
    before = code_digest("room")
    file.write_text("x = 2\n")
    assert code_digest("room") == before  # within a process the source is read once
    code_digest.cache_clear()
    assert code_digest("room") != before
    code_digest.cache_clear()


def test_provenance_is_plain_json_and_names_versions() -> None:
    record = provenance("record", {"keep": "all", "n": np.int64(3)}, {"network": "abc"}, seed=0, where=Path("a/b"))
    assert record == json.loads(json.dumps(record))
    assert (
        record["made_by"] == "netphys.record" and record["options"] == {"keep": "all", "n": 3} and record["seed"] == 0
    )
    assert {"netphys", "python", "torch", "numpy"} <= record["versions"].keys() == versions().keys()
