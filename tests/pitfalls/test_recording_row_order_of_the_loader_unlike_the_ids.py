"""Row order of the loader unlike the ids: files sorted one way, a table of ids in another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import netphys


def test_row_order_of_the_loader_unlike_the_ids(tmp_path: Path) -> None:
    order = ["10.png", "9.png", "1.png", "02.png"]
    for value, file in enumerate(order, start=1):
        Image.new("RGB", (4, 4), (10 * value, 0, 0)).save(tmp_path / file)
    rows = "".join(f"{file},object{value}\n" for value, file in enumerate(order, start=1))
    (tmp_path / "metadata.csv").write_text("file,stimulus_id\n" + rows)
    recording = netphys.record(netphys.load_network("netphys:pixels"), netphys.load_stimuli(tmp_path), layers="pixels")
    grey = np.rint(recording.array("pixels")[:, 0, 0, 0] * 255)
    assert dict(zip(recording.stimulus_ids, grey)) == {"object1": 10, "object2": 20, "object3": 30, "object4": 40}
    listed = sorted(each.name for each in tmp_path.glob("*.png"))
    assert [order.index(file) for file in listed] != [0, 1, 2, 3]  # the trap: a sorted listing is another order
    chosen = recording.select(stimuli=["object3", "object1"])
    assert np.array_equal(np.rint(chosen.array("pixels")[:, 0, 0, 0] * 255), [30, 10])
    assert chosen["pixels"]["stimulus_id"].values.tolist() == ["object3", "object1"]
