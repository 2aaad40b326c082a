"""Problems side by side: every one on one thread, answers in their order, everything left as it was found."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from netphys.threads import one_thread, side_by_side


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_every_problem_has_one_thread_and_they_run_together(two_threads):
    together = threading.Barrier(2, timeout=10)

    def compute(problem: int) -> tuple[int, int]:
        together.wait()  # control: were they run one after the other, the first would wait in vain
        return problem, torch.get_num_threads()

    assert side_by_side(compute, [3, 1]) == [(3, 1), (1, 1)]
    assert torch.get_num_threads() == 2


def test_threads_come_back_after_an_error(two_threads):
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda each: 1 / each, [1, 0])
    assert torch.get_num_threads() == 2
    with pytest.raises(RuntimeError), one_thread():
        assert torch.get_num_threads() == 1
        raise RuntimeError
    assert torch.get_num_threads() == 2


def test_the_same_bits_on_any_number_of_threads(two_threads):
    rng = np.random.default_rng(0)
    matrices = [torch.from_numpy(rng.normal(size=(300, 300))) for _ in range(4)]

    def squares() -> list[torch.Tensor]:
        return side_by_side(lambda each: each @ each, matrices)

    on_two = squares()
    torch.set_num_threads(1)
    assert all(torch.equal(one, other) for one, other in zip(on_two, squares()))


def test_each_is_counted():
    counted = []
    side_by_side(abs, [1, -2, 3], done=lambda: counted.append(1))
    assert len(counted) == 3
