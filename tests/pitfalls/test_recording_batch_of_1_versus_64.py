"""The same image in a batch of 1 and of 64 differs in the last bits, for kernels choose by batch size.

A recording runs in one fixed, padded batch; what is asked for is part of its digest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import netphys
from netphys.recording.recorder import recording_digest, recording_plan


def test_batch_of_1_versus_64(photographs: Any) -> None:
    network, layer = netphys.load_network("torchvision:resnet18?resize=64"), "layer4.1.conv2"
    whole = netphys.record(network, photographs, layers=layer, keep="mean").array(layer)
    alone = netphys.record(network, photographs.subset([7]), layers=layer, keep="mean").array(layer)
    assert np.array_equal(whole[7], alone[0])
    outputs = []
    for n in (1, 2, 8, 40):  # the trap: at least one batch size gives other bits, all give nearly the same
        rows = [7, *(row for row in range(40) if row != 7)][:n]
        with torch.no_grad(), netphys.hooks(network, layer) as tape:
            network.module(network.prepare(photographs.images(rows)))
        outputs.append(tape[layer][0].numpy())
    assert all(np.allclose(each, outputs[0], atol=1e-5) for each in outputs)
    assert not all(np.array_equal(each, outputs[0]) for each in outputs)
    plans = [recording_plan(network, photographs, layers=layer, batch_size=n) for n in (1, 32, 64)]
    assert len({recording_digest(plan) for plan in plans}) == 3
