"""Processes that decode files beside this one: see :mod:`netphys.stimuli.readers.worker`.

A codec that crashes takes its worker with it and nobody else: the files that it was given are tried again one by one,
and the one that kills two more workers is named (one alone may have been killed from outside). The workers of a process
are shared by all its sets, and end by themselves when they are idle.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netphys.errors import OptionError, StimulusError
from netphys.stimuli.readers.decoding import LEAVES_OUT
from netphys.stimuli.readers.worker import pack, unpack

__all__ = ["WORKERS", "Answer", "by_worker", "close_workers", "n_cores", "n_workers"]

WORKERS = "NETPHYS_WORKERS"  # the environment's variable: "auto", or a number; 0: threads of this process
_MOST = 16
_LOOK_S = 1.0  # how often a worker that is silent is looked at
_PIPE_BYTES = 1 << 20  # an image of 500 x 375 goes through at once; the kernel's own 64 KiB take nine turns
_MANY = 2000  # files below which the start of workers, 0.3 s of each, is not won back


Answer = tuple[dict[str, Any], "np.ndarray | None"]


class _Died(Exception):
    """A worker ended before it answered."""


class _Worker:
    """One process, asked one question at a time."""

    def __init__(self) -> None:
        try:
            self._process = subprocess.Popen(
                # -P: what lies in the working folder does not hide a package of the same name
                [sys.executable, "-P", "-m", "netphys.stimuli.readers.worker"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
                env=_environment(), process_group=0,  # Ctrl-C is the asker's; the worker ends when its input does
            )  # fmt: skip
        except OSError as error:
            raise StimulusError(f"no process to decode in can be started ({error}); {WORKERS}=0 needs none") from None
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        for pipe in (self._in, self._out):
            _widen(pipe)

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def ask(self, kind: str, wants: Sequence[str], files: Sequence[tuple[str, bytes]]) -> list[Answer]:
        """Let it decode files; whatever is raised, it is of no more use."""
        question = {"kind": kind, "wants": list(wants), "files": [[name, len(contents)] for name, contents in files]}
        try:
            for part in (memoryview(each) for each in (pack(question), *(contents for _, contents in files))):
                while len(part):
                    part = part[os.write(self._in, part) :]
            answers: list[Answer] = []
            while len(answers) < len(files):
                header = unpack(self._exactly)
                value = np.empty(header["shape"], dtype=header["dtype"]) if "shape" in header else None
                if value is not None:
                    self._into(value.reshape(-1).view(np.uint8).data)
                answers.append((header, value))
            return answers
        except (BrokenPipeError, EOFError):
            raise _Died(self._how()) from None

    def close(self) -> None:
        """End it, now."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        self._process.kill()
        self._process.wait()

    def _exactly(self, n: int) -> memoryview:
        into = memoryview(bytearray(n))
        self._into(into)
        return into

    def _into(self, into: memoryview) -> None:
        """Fill a buffer; a process that ended is seen even where somebody else holds its pipe open."""
        while len(into):
            ended = not self.lives  # before the look: what it wrote last is still read
            if not select.select([self._out], [], [], 0 if ended else _LOOK_S)[0]:
                if ended:
                    raise EOFError
                continue
            read = os.readv(self._out, [into])
            if not read:
                raise EOFError
            into = into[read:]

    def _how(self) -> str:
        """Say how it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_LOOK_S)
        code = self._process.poll()
        if code is None or code >= 0:
            return f"it ended with {code}"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"


class _Pool:
    """The workers of this process that nobody asks anything just now."""

    def __init__(self) -> None:
        self.process, self._lock, self._idle = os.getpid(), threading.Lock(), list[_Worker]()

    def borrow(self) -> _Worker:
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                return _Worker()
            if worker.lives:
                return worker
            worker.close()  # it was idle too long

    def give_back(self, worker: _Worker) -> None:
        with self._lock:
            self._idle.append(worker)

    def close(self) -> None:
        with self._lock:
            workers, self._idle = self._idle, []
        for worker in workers:
            worker.close()


_pool = _Pool()


def by_worker(kind: str, wants: Sequence[str], files: Sequence[tuple[str, bytes]]) -> list[Answer]:
    """Let a worker decode files.

    Parameters
    ----------
    kind : str
        Their kind.
    wants : sequence of str
        Of ``"value"`` and ``"digest"``.
    files : sequence of (str, bytes)
        What messages call each, and its contents.

    Returns
    -------
    list of (dict, array or None)
        Of each file what :func:`netphys.stimuli.readers.worker.answer` says, and the value where it was wanted. What
        two workers died of, one after the other, is ``broken``.

    Raises
    ------
    StimulusError
        If no worker can be started.
    """
    died = ""
    for _ in range(2 if len(files) == 1 else 1):
        worker = _here().borrow()
        try:
            answers = worker.ask(kind, wants, files)
        except _Died as error:
            worker.close()
            died = str(error)
        except BaseException:  # Ctrl-C: its answer is still to come, and would be taken for the next one's
            worker.close()
            raise
        else:
            _here().give_back(worker)
            return answers
    if len(files) > 1:  # one of them may be the cause: each alone, in what is left of the workers or a new one
        return [answer for each in files for answer in by_worker(kind, wants, [each])]
    why = f"the process that decodes it dies of it ({died}){LEAVES_OUT}"
    return [({"broken": f"{kind} {files[0][0]} is broken: {why}"}, None)]


def n_workers(n_files: int, kind: str, *, small: bool) -> int:
    """Say how many workers decode files of a set; 0: threads of this process do.

    Parameters
    ----------
    n_files : int
        Files of the set.
    kind : str
        Their kind; only pictures are decoded by workers.
    small : bool
        They decode so fast that Python's lock, not the codec, is waited for.

    Raises
    ------
    OptionError
        If ``NETPHYS_WORKERS`` is neither ``auto`` nor a number of processes.
    """
    asked = os.environ.get(WORKERS, "auto").strip() or "auto"
    if asked != "auto" and not (asked.isdecimal() and int(asked) <= _MOST):
        raise OptionError(f"{WORKERS}={asked!r} is neither 'auto' nor a number of processes, 0 to {_MOST}")
    if kind not in ("image", "values"):  # clips are large to send, and their codecs have threads of their own
        return 0
    if asked != "auto":
        return int(asked)
    # Measured on two cores, ms an image; a worker by processor time of the asker. Of 500 x 375 pixels threads decode
    # beside each other and hold Python's lock for 0.1, while pixels from a worker cost 0.4 to receive. Of 64 pixels
    # threads wait for each other (one takes 0.21, four 0.30) and a worker costs 0.1: it pays where cores are free.
    wins = small and n_files >= _MANY and n_cores() > 2 and bool(sys.executable)
    return min(n_cores() - 1, _MOST) if wins else 0


def close_workers() -> None:
    """End all idle workers of this process."""
    _here().close()


def _here() -> _Pool:
    """Return the pool of this process: workers answer the process that started them, not one forked from it."""
    global _pool
    if _pool.process != os.getpid():
        _pool = _Pool()
    return _pool


def n_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _environment() -> dict[str, str]:
    """Return the environment of a worker, which finds its packages where this process does."""
    places = [each for each in sys.path if each]
    home = str(Path(__file__).resolve().parents[3])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys([*places, home])), "OMP_NUM_THREADS": "1"}


def _widen(pipe: int) -> None:
    """Let a pipe hold more, where the system can."""
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        return


atexit.register(close_workers)
