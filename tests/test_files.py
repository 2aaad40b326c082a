"""netphys.files: the old file or the new one, never a third thing."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from netphys import files
from netphys.errors import OutputError


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "result.csv"
    path.write_text("old")
    return path


def test_a_commit_leaves_the_new_file_and_nothing_else(old: Path) -> None:
    files.write_text(old, "néw\n")
    assert old.read_bytes() == "néw\n".encode()
    assert [each.name for each in old.parent.iterdir()] == ["result.csv"]


def _failing(name: str, number: int, at: int) -> Callable[..., object]:
    """Wrap a system call so that its call number `at` fails."""
    real, calls = getattr(os, name), []

    def call(*given: object, **more: object) -> object:
        calls.append(given)
        if len(calls) == at:
            raise OSError(number, os.strerror(number))
        return real(*given, **more)

    return call


# the calls of one commit, in order: fsync of the file, replace, fsync of the folder
@pytest.mark.parametrize(("call", "at", "left"), [("fsync", 1, "old"), ("replace", 1, "old"), ("fsync", 2, "new")])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EDQUOT])
def test_whichever_system_call_fails_old_or_new_is_left(
    old: Path, monkeypatch: pytest.MonkeyPatch, call: str, at: int, left: str, number: int
) -> None:
    monkeypatch.setattr(os, call, _failing(call, number, at))
    with pytest.raises(OutputError) as caught:
        files.write_text(old, "new")
    assert str(caught.value).startswith(f"cannot write {old}: ") and "\n" not in str(caught.value)
    assert old.read_text() == left
    assert [each.name for each in old.parent.iterdir()] == ["result.csv"]


def test_a_write_that_fails_leaves_the_old_file(old: Path) -> None:
    with pytest.raises(OutputError, match="no space left"), files.committing(old) as temporary:
        temporary.write_text("ne")
        raise OSError(errno.ENOSPC, "no space")
    assert old.read_text() == "old" and len(list(old.parent.iterdir())) == 1


def test_a_writer_that_overwrites_in_place_is_caught_by_the_same_check(old: Path) -> None:
    """Control: without the temporary name a failure in the midst leaves a third thing."""
    with pytest.raises(OSError), old.open("w") as file:
        file.write("n")
        raise OSError(errno.ENOSPC, "no space")
    assert old.read_text() not in ("old", "new")


def test_order_of_the_calls_is_write_sync_rename_sync(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        trace.append("sync " + ("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"))
        sync(handle)

    def replaced(self: Path, target: Path) -> Path:
        trace.append(f"rename {self.read_text()}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    files.write_text(old, "new")
    assert trace == ["sync file", "rename new", "sync folder"]


def test_an_exception_in_the_block_leaves_the_old_file(old: Path) -> None:
    with pytest.raises(KeyboardInterrupt), files.committing(old) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert old.read_text() == "old" and len(list(old.parent.iterdir())) == 1


@pytest.mark.parametrize("name", ["n" * 251 + ".csv", "é" * 125 + ".csv", "中" * 83 + ".csv", "tab\tand space .csv"])
def test_names_as_long_as_the_file_system_takes(tmp_path: Path, name: str) -> None:
    assert files.write_text(tmp_path / name, "x").read_text() == "x"


def test_a_name_that_is_too_long_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the name is too long for this file system"):
        files.write_text(tmp_path / ("n" * 256), "x")


def test_something_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="there is a folder of that name|something of that name is in the way"):
        files.write_text(tmp_path / "out", "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a part of the path is a file, not a folder|in the way"):
        files.ensure_folder(tmp_path / "file" / "below")


def test_other_errors_are_bugs_and_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.write_text(tmp_path / "absent" / "file", "x")


def test_the_errno_that_hdf5_hides_is_found(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no space left"), files.writing(tmp_path / "x.h5"):
        raise OSError("Can't write (file write failed: errno = 28, error message = 'No space left on device')")


def test_append_line_and_json_round_trip(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    files.append_line(journal, "eins")
    files.append_line(journal, "zwei ü")
    assert journal.read_text(encoding="utf-8") == "eins\nzwei ü\n"
    assert files.write_json(tmp_path / "a.json", {"b": 1, "a": "ü"}).read_text() == '{\n "a": "ü",\n "b": 1\n}\n'


def test_sweep_removes_what_killed_writers_left_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = [
        ".hidden",
        "result.csv",
        f".other.csv.{os.getpid()}{files.TEMPORARY}",
        f"below/.x.{gone.pid}{files.TEMPORARY}",
    ]
    left = tmp_path / f".result.csv.{gone.pid}{files.TEMPORARY}"
    for path in (*(tmp_path / name for name in names), left):
        path.write_text("")
    files.sweep(tmp_path)
    assert not left.exists()
    assert all((tmp_path / name).exists() for name in names)  # of a writer that lives, of another folder, of no writer


def test_sweep_file_removes_what_writers_of_that_file_left_and_nothing_else(tmp_path: Path) -> None:
    kept = {"rec.h5", ".rec.h5", *(f".{name}.7{files.TEMPORARY}" for name in ("rec.h5.x", "xrec.h5", "recyh5"))}
    for name in (*kept, f".rec.h5.7{files.TEMPORARY}", f".rec.h5.12345{files.TEMPORARY}"):
        (tmp_path / name).write_text("")
    files.sweep_file(tmp_path / "rec.h5")
    assert {each.name for each in tmp_path.iterdir()} == kept


def test_require_free_refuses_before_anything_is_written(tmp_path: Path) -> None:
    files.require_free(tmp_path, 1, what="a byte")
    with pytest.raises(OutputError, match=r"no space for the recording at .*: it needs [\d,]+\.\d MB"):
        files.require_free(tmp_path, 1 << 60, what="the recording")


def test_reserve_takes_the_space_or_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    files.reserve(path, 1 << 16)
    assert path.stat().st_size == 1 << 16 and path.read_bytes()[:3] == b"abc"
    os.truncate(path, 3)
    for number, refused in ((errno.EOPNOTSUPP, False), (errno.ENOSPC, True)):

        def half(handle: int, start: int, n_bytes: int, number: int = number) -> None:
            os.truncate(handle, n_bytes // 2)
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "posix_fallocate", half)
        if refused:
            with pytest.raises(OSError):
                files.reserve(path, 1 << 16)
        else:
            files.reserve(path, 1 << 16)
        assert path.read_bytes() == b"abc"


def test_slug_is_safe_and_short() -> None:
    assert files.slug("../../etc/passwd") == "etc-passwd"
    assert files.slug("Ünits β") == "ünits-β" and len(files.slug("x" * 1000)) == 80
    for odd in ("", "..", "/", "\0", "a\nb"):
        assert not set(files.slug(odd)) & set("./\0\n")


_TURNS = """
import sys, time
from pathlib import Path
from netphys.files import locked
lock, log = Path(sys.argv[1]), Path(sys.argv[2])
for turn in range(int(sys.argv[3])):
    with locked(lock, waiting="waiting"):
        with log.open("a") as file: file.write("in\\n")
        time.sleep(0.001)
        with log.open("a") as file: file.write("out\\n")
"""


def _inside_alone(log: Path) -> bool:
    lines = log.read_text().split()
    return lines == ["in", "out"] * (len(lines) // 2)


def _take_turns(script: str, tmp_path: Path, turns: int = 60) -> Path:
    log = tmp_path / "log"
    command = [sys.executable, "-c", script, str(tmp_path / "lock"), str(log), str(turns)]
    children = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for child in children:
        _, said = child.communicate(timeout=60)
        assert child.returncode == 0, said.decode()
    assert len(log.read_text().split()) == 3 * 2 * turns
    return log


def test_locked_lets_one_process_in_at_a_time_and_leaves_no_lock(tmp_path: Path) -> None:
    assert _inside_alone(_take_turns(_TURNS, tmp_path))
    assert not (tmp_path / "lock").exists()


def test_without_the_lock_the_same_check_fails(tmp_path: Path) -> None:
    """Control: three processes that do not lock are seen to be inside together."""
    unlocked = _TURNS.replace('with locked(lock, waiting="waiting"):', "if True:")
    assert not _inside_alone(_take_turns(unlocked, tmp_path))


def test_a_killed_holder_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock, ready = tmp_path / "lock", tmp_path / "ready"
    script = _TURNS.replace("time.sleep(0.001)", "time.sleep(60)")
    child = subprocess.Popen([sys.executable, "-c", script, str(lock), str(ready), "1"])
    try:
        until = time.monotonic() + 30
        while not ready.exists() and time.monotonic() < until:
            time.sleep(0.01)
        assert ready.exists()
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert lock.exists()
    with files.locked(lock, waiting="waiting"):
        pass
    assert not lock.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become somebody else in a child")
def test_no_permission_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    script = (
        "import os, sys; from pathlib import Path; from netphys import files, errors; os.setuid(65534)\n"
        "for write in (lambda p: files.write_text(p / 'x', ''), lambda p: files.ensure_folder(p),"
        " lambda p: files.ensure_folder(p / 'below'), lambda p: files.append_line(p / 'j', '')):\n"
        "    try: write(Path(sys.argv[1]))\n"
        "    except errors.OutputError as error: print(error)\n"
    )
    # below /tmp directly: pytest's own folders are closed to others
    folder = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    try:
        folder.chmod(0o755)
        said = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, timeout=60)
        assert said.stdout.count("no permission to write; choose another --out or mend it") == 4, said.stderr
        assert not list(folder.iterdir())
    finally:
        folder.rmdir()
