"""Threads: many small problems run side by side, each on one thread, instead of one after the other on all.

A product of small matrices takes longer on several threads that wait for each other than on one, by far so on a machine
with other work. One thread a problem also gives the same bits on any number of cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["one_thread", "side_by_side"]

A = TypeVar("A")
B = TypeVar("B")


@contextmanager
def one_thread() -> Iterator[int]:
    """Let torch and BLAS compute on one thread inside the block; yields how many torch had."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield before
        finally:
            torch.set_num_threads(before)


def side_by_side(
    compute: Callable[[A], B], problems: Iterable[A], *, done: Callable[[], object] = lambda: None
) -> list[B]:
    """Compute problems on as many threads as torch has, one each; answers in their order.

    Parameters
    ----------
    compute : callable
        Releases Python's lock for most of its time, as torch and numpy do.
    problems : iterable
        What is computed.
    done : callable
        Called after each, from the thread that asked.

    Examples
    --------
    >>> side_by_side(abs, [-3, 1, -2])
    [3, 1, 2]
    """
    import torch

    def alone(problem: A) -> B:
        torch.set_num_threads(1)  # a thread that torch has not met yet would take all
        return compute(problem)

    with one_thread() as n_threads, ThreadPoolExecutor(max(1, n_threads)) as pool:
        answers = []
        for answer in pool.map(alone, problems):
            answers.append(answer)
            done()
    return answers
