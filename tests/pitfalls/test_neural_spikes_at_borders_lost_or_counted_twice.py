"""Spikes on the border of two bins, in times that binary floats round: each is counted once, where decimals say."""

from __future__ import annotations

import numpy as np

from netphys.neural.spikes import count_spikes


def test_spikes_at_borders_lost_or_counted_twice():
    onsets = np.round(np.arange(100) * 0.3 + 0.1, 1)
    spikes = np.round(onsets + 0.07, 2)  # every one exactly 70 ms after its onset
    counts = count_spikes([spikes], onsets, [50, 70, 90])
    assert (counts == [0, 1]).all()
    # the mistakes: differences of floats fall on either side, closed bins count twice
    latencies = spikes - onsets
    assert 0 < ((latencies >= 0.05) & (latencies < 0.07)).sum() < 100
    closed = sum(((latencies >= a - 1e-9) & (latencies <= b + 1e-9)).sum() for a, b in ((0.05, 0.07), (0.07, 0.09)))
    assert closed == 200
