"""Worker processes: the bits of this process; who dies is named, nobody waits, nobody stays."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netphys.stimuli.readers import worker, worker_pool
from netphys.stimuli.readers.kinds import decode_file
from netphys.stimuli.readers.worker_pool import WORKERS, by_worker, close_workers, n_workers
from netphys.stimuli.sources import value_digest

BOTH = ("value", "digest")


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """No worker of another test, and none that stays."""
    close_workers()
    yield
    close_workers()


def _file(seed: int = 0, mode: str = "RGB", size: tuple[int, int] = (30, 20), form: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 4), dtype=np.uint8)
    into = io.BytesIO()
    Image.fromarray(pixels, mode="RGBA").convert(mode).save(into, form)
    return into.getvalue()


def _idle() -> list[int]:
    return [each._process.pid for each in worker_pool._here()._idle]


def test_a_worker_decodes_the_bits_of_this_process() -> None:
    files = [
        ("a", _file(1)),
        ("b", _file(2, "L", (7, 9))),
        ("c", _file(3, "RGBA", form="PNG")),
        ("d", _file(4, "CMYK")),
    ]
    for (name, contents), (said, value) in zip(files, by_worker("image", BOTH, files), strict=True):
        here, words = decode_file("image", io.BytesIO(contents), name)
        assert np.array_equal(here, value) and here.dtype == value.dtype and value.flags.writeable
        assert tuple(said["words"]) == words and said["digest"] == value_digest(here)
    said, value = by_worker("image", ["digest"], files[:1])[0]
    assert value is None and said["digest"] == value_digest(decode_file("image", io.BytesIO(files[0][1]), "a")[0])
    assert len(_idle()) == 1  # one after the other: one worker


def test_what_is_broken_is_said_as_here() -> None:
    whole = _file(1, size=(300, 300))
    for contents in (b"", b"no image", whole[: len(whole) // 2]):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            decode_file("image", io.BytesIO(contents), "x.jpg")
        said = by_worker("image", BOTH, [("x.jpg", contents), ("y.jpg", whole)])
        assert said[0] == ({"broken": str(caught.value)}, None) and said[1][1] is not None


def test_large_files_and_values_go_through() -> None:
    """Both are larger than a pipe, several at once: nobody waits for ever."""
    files = [(str(seed), _file(seed, size=(700, 900), form="BMP")) for seed in range(3)]
    assert min(len(contents) for _, contents in files) > 1 << 20
    for (name, contents), (_, value) in zip(files, by_worker("image", ["value"], files), strict=True):
        assert np.array_equal(value, decode_file("image", io.BytesIO(contents), name)[0])


def test_a_killed_worker_costs_nothing_but_time() -> None:
    good = [(str(seed), _file(seed)) for seed in range(4)]
    expected = [value.copy() for _, value in by_worker("image", ["value"], good)]
    for moment in range(5):  # idle; and while it decodes
        (pid,) = _idle()
        killer = threading.Timer(0.01 * moment, os.kill, (pid, signal.SIGKILL))
        killer.start()
        got = []
        while killer.is_alive():
            got.append(by_worker("image", ["value"], good))
        got.append(by_worker("image", ["value"], good))
        assert all(np.array_equal(a, b) for each in got for a, (_, b) in zip(expected, each, strict=True))
        assert pid not in _idle()


def _deadly(monkeypatch: pytest.MonkeyPatch, folder: Path, then: str) -> None:
    """Let workers die, by a codec's crash, of a file that is called 'deadly'."""
    (folder / "sitecustomize.py").write_text(
        "import os, signal\n"
        "import netphys.stimuli.readers.kinds as kinds\n"
        "real = kinds.decode_file\n"
        "def decode_file(kind, file, name):\n"
        f"    if name == 'deadly': {then}\n"
        "    return real(kind, file, name)\n"
        "kinds.decode_file = decode_file\n"
    )
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.parametrize(
    ("then", "said"),
    [("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"), ("os._exit(3)", "it ended with 3")],
)
def test_the_file_that_kills_workers_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str, said: str
) -> None:
    _deadly(monkeypatch, tmp_path, then)
    files = [("a", _file(1)), ("deadly", _file(2)), ("b", _file(3))]
    first, deadly, last = by_worker("image", ["value"], files)
    assert first[1] is not None and last[1] is not None
    assert deadly[0]["broken"] == (
        f"image deadly is broken: the process that decodes it dies of it ({said}); "
        "skip_broken=True (--skip-broken) leaves such images out"
    )


def test_what_a_worker_has_no_word_for_is_raised_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _deadly(monkeypatch, tmp_path, "raise MemoryError")
    assert by_worker("image", ["value"], [("deadly", _file(1))]) == [({"unsaid": True}, None)]


def test_threads_have_a_worker_each_and_a_fork_has_its_own() -> None:
    files = [("a", _file(1))]
    expected = by_worker("image", ["value"], files)[0][1]
    got: list[np.ndarray | None] = []
    threads = [
        threading.Thread(target=lambda: got.extend(by_worker("image", ["value"], files)[0][1] for _ in range(20)))
        for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(got) == 80 and all(np.array_equal(expected, each) for each in got) and len(_idle()) <= 5
    read, write = os.pipe()
    child = os.fork()
    if not child:  # asks a worker of its own
        mine = set(_idle())
        by_worker("image", ["value"], files)
        os.write(write, b"same" if mine & set(_idle()) else b"own!")
        close_workers()
        os._exit(0)
    assert os.read(read, 4) == b"own!" and os.waitpid(child, 0)[1] == 0
    assert np.array_equal(by_worker("image", ["value"], files)[0][1], expected)


SCRIPT = """
import os, sys
from netphys.stimuli import StimulusSet
from netphys.stimuli.readers import worker_pool
print("ran", flush=True)  # no guard of __main__: a worker that imports the script would say it again
shown = StimulusSet.from_folder(sys.argv[1])
shown.images(range(len(shown)))
print(*[each._process.pid for each in worker_pool._here()._idle], flush=True)
if len(sys.argv) > 2: os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("how", [(), ("killed",)])
def test_an_unguarded_script_leaves_nobody_behind(tmp_path: Path, how: tuple[str, ...]) -> None:
    folder, script = tmp_path / "images", tmp_path / "script.py"
    folder.mkdir()
    for seed in range(4):
        (folder / f"{seed}.jpg").write_bytes(_file(seed))
    script.write_text(SCRIPT)
    (tmp_path / "json.py").write_text("raise SystemExit('a namesake in the working folder')")
    ran = subprocess.run(
        [sys.executable, "-P", str(script), str(folder), *how],
        capture_output=True, text=True, env={**os.environ, WORKERS: "2"}, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    first, pids = ran.stdout.splitlines()
    assert first == "ran" and ran.stderr == "" and ran.returncode == (-signal.SIGKILL if how else 0)
    workers = [int(each) for each in pids.split()]
    assert len(workers) == 2
    until = time.monotonic() + 10
    while any(_lives(pid) for pid in workers) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(_lives(pid) for pid in workers)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_an_idle_worker_ends() -> None:
    read, write = os.pipe()
    before = time.monotonic()
    worker.serve(read, write, idle_s=0.05)
    assert time.monotonic() - before < 5
    os.close(write)
    os.close(read)


def test_auto_is_threads_but_for_many_small_files_on_many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WORKERS, raising=False)
    monkeypatch.setattr(worker_pool, "n_cores", lambda: 8)
    assert n_workers(50_000, "image", small=True) == 7
    assert n_workers(50_000, "image", small=False) == n_workers(100, "image", small=True) == 0
    assert n_workers(50_000, "clip", small=True) == 0
    monkeypatch.setattr(worker_pool, "n_cores", lambda: 2)
    assert n_workers(50_000, "image", small=True) == 0
    monkeypatch.setenv(WORKERS, "3")
    assert n_workers(10, "image", small=False) == 3 and n_workers(10, "clip", small=False) == 0
