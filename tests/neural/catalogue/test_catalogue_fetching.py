"""Sets fetched from a server on 127.0.0.1: whole and checked or not at all, once; a clear line for every bad day."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from netphys.errors import NetphysError, NeuralDataError, OutputError
from netphys.neural.catalogue import Catalogue, downloading, fetch, is_fetched

BODY = np.random.default_rng(0).bytes(600_000)  # several chunks of a transfer
SHA256 = hashlib.sha256(BODY).hexdigest()
KNOWN = {
    algorithm: f'checksum = "{algorithm}:{hashlib.new(algorithm, BODY).hexdigest()}"\nchecksum_source = "a paper"'
    for algorithm in ("sha256", "sha1", "md5")
}


def left(tmp_path: Path) -> list[str]:
    """Name all that lies in the folder of sets."""
    root = tmp_path / "sets"
    return sorted(str(each.relative_to(root)) for each in root.rglob("*")) if root.exists() else []


def refused(catalogue, **options) -> str:
    """Fetch in vain; return the one line."""
    with pytest.raises(NetphysError) as raised:
        fetch("set", catalogue=catalogue, **options)
    line = str(raised.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("algorithm", KNOWN)
def test_a_set_is_fetched_once_and_its_checksum_compared(server, catalogue, tmp_path, algorithm, caplog):
    server.files["a.npy"] = BODY
    sets = catalogue({"a.npy": KNOWN[algorithm]})
    assert not is_fetched(sets["set"])
    folder = fetch("set", catalogue=sets)
    assert folder == tmp_path / "sets" / "set" and (folder / "a.npy").read_bytes() == BODY
    assert left(tmp_path) == ["set", "set/a.npy", "set/fetched.json"]
    assert is_fetched(sets["set"])
    fetch("set", catalogue=sets)
    assert server.asked == ["a.npy"]
    recorded = json.loads((folder / "fetched.json").read_text())["files"]["a.npy"]
    assert recorded["sha256"] == SHA256 and recorded["checksum"].startswith(algorithm)
    assert recorded["url"] == server.url("a.npy") and recorded["bytes"] == len(BODY)
    assert "no source gives one" not in caplog.text


def test_without_a_checksum_the_first_is_recorded_and_said(server, catalogue, caplog):
    server.files["a.npy"] = BODY
    fetch("set", catalogue=catalogue({"a.npy": ""}))
    assert f"a.npy has sha256 {SHA256}, recorded now; no source gives one" in caplog.text


def test_into_another_folder(server, catalogue, tmp_path):
    server.files["a.npy"] = BODY
    sets = catalogue({"a.npy": ""})
    assert fetch("set", into=tmp_path / "mine", catalogue=sets) == tmp_path / "mine" / "set"
    assert is_fetched(sets["set"], into=tmp_path / "mine") and not is_fetched(sets["set"])


def test_a_source_that_changed_since_is_refused_and_the_old_file_stays(server, catalogue, tmp_path):
    server.files["a.npy"] = BODY
    sets = catalogue({"a.npy": ""})
    folder = fetch("set", catalogue=sets)
    fetch("set", catalogue=sets, force=True)  # the same bytes: well
    server.files["a.npy"] = BODY[:-1] + b"?"
    line = refused(sets, force=True)
    assert SHA256 in line and "the source has changed" in line and str(folder) in line
    assert (folder / "a.npy").read_bytes() == BODY
    assert left(tmp_path) == ["set", "set/a.npy", "set/fetched.json"]
    assert server.asked == ["a.npy"] * 3


def test_a_file_changed_here_is_refused_and_one_touched_is_not(server, catalogue):
    server.files["a.npy"] = BODY
    sets = catalogue({"a.npy": ""})
    path = fetch("set", catalogue=sets) / "a.npy"
    os.utime(path, (1, 1))
    fetch("set", catalogue=sets)
    assert server.asked == ["a.npy"]  # another date, the same bytes
    path.write_bytes(BODY[:-1] + b"?")
    line = refused(sets)
    assert "was changed since it was fetched" in line and str(path) in line
    path.unlink()
    fetch("set", catalogue=sets)
    assert path.read_bytes() == BODY


def test_a_file_put_there_by_hand_is_taken_if_it_is_the_one(server, catalogue, tmp_path):
    folder = tmp_path / "sets" / "set"
    folder.mkdir(parents=True)
    (folder / "a.npy").write_bytes(BODY)
    sets = catalogue({"a.npy": KNOWN["sha1"]})
    fetch("set", catalogue=sets)
    assert server.asked == []
    assert json.loads((folder / "fetched.json").read_text())["files"]["a.npy"]["url"] == "found in the folder"
    (folder / "fetched.json").unlink()
    (folder / "a.npy").write_bytes(BODY[:-1])
    line = refused(sets)
    assert "a paper says" in line and "remove it" in line


def test_a_second_address_is_tried_where_the_first_does_not_give_the_file(server, catalogue):
    server.files["mirror"] = BODY
    sets = catalogue({"a.npy": KNOWN["sha256"]}, urls=[server.url("gone"), server.url("mirror")])
    folder = fetch("set", catalogue=sets)
    assert server.asked == ["gone", "mirror"]
    assert json.loads((folder / "fetched.json").read_text())["files"]["a.npy"]["url"] == server.url("mirror")
    del server.files["mirror"]
    assert "(2 addresses were tried): HTTP 404" in refused(sets, force=True)


def test_what_came_stays_when_a_later_file_fails_and_is_not_fetched_again(server, catalogue, tmp_path):
    server.files["a.npy"] = BODY
    sets = catalogue({"a.npy": "", "b.npy": ""})
    assert "b.npy could not be fetched" in refused(sets)
    assert left(tmp_path) == ["set", "set/a.npy", "set/fetched.json"] and not is_fetched(sets["set"])
    server.files["b.npy"] = BODY
    fetch("set", catalogue=sets)
    assert server.asked == ["a.npy", "b.npy", "b.npy"] and is_fetched(sets["set"])


def test_a_fault_that_passes_is_tried_again(server, catalogue, send):
    answers = iter([503, 429, 200])

    def answer(handler):
        status = next(answers)
        send(handler, BODY if status == 200 else b"", status=status)

    server.answers["a.npy"] = answer
    fetch("set", catalogue=catalogue({"a.npy": KNOWN["sha1"]}))
    assert server.asked == ["a.npy"] * 3


def hang(handler):
    time.sleep(1.0)  # longer than the time-out of these tests


def slow_death(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(BODY)))
    handler.end_headers()
    handler.wfile.write(BODY[:400_000])
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


def no_http(handler):
    handler.wfile.write(b"\x00\x01 this is no HTTP\r\n\r\n")


def bad_chunks(handler):
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"zz\r\nnot a chunk\r\n")
    handler.close_connection = True


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(400):  # 100 MB, which nobody announced
            handler.wfile.write(b"x" * 262_144)
    except OSError:
        pass


ANSWERS = {  # a bad day of the server -> (what it does with `send`, lines of the entry, words of ours, times asked)
    "404": (lambda h, send: h.send_error(404), "", ["HTTP 404", "no such file any more"], 1),
    "403": (lambda h, send: h.send_error(403), "", ["HTTP 403", "does not give it"], 1),
    "401": (lambda h, send: h.send_error(401), "", ["HTTP 401", "password"], 1),
    "410": (lambda h, send: h.send_error(410), "", ["HTTP 410", "taken away"], 1),
    "418": (lambda h, send: h.send_error(418), "", ["HTTP 418"], 1),
    "429": (lambda h, send: h.send_error(429), "", ["HTTP 429", "too many requests"], 3),
    "500": (lambda h, send: h.send_error(500), "", ["HTTP 500"], 3),
    "503": (lambda h, send: h.send_error(503), "", ["HTTP 503"], 3),
    "204": (lambda h, send: send(h, b"", status=204), "", ["HTTP 204"], 1),
    "206": (lambda h, send: send(h, BODY[:9], status=206), "", ["HTTP 206"], 1),
    "a login": (lambda h, send: send(h, b"<html>", content_type="text/html; charset=utf-8"), "", ["a web page"], 1),
    "nothing": (lambda h, send: send(h, b""), "", ["the answer is empty"], 3),
    "no answer": (lambda h, send: hang(h), "", ["no answer within 0.4 s", "is there a network?"], 3),
    "cut off": (lambda h, send: slow_death(h), "", ["broke off"], 3),
    "shorter than announced": (lambda h, send: send(h, BODY, content_length="600001"), "", ["broke off"], 3),
    "no HTTP": (lambda h, send: no_http(h), "", ["no connection"], 3),
    "chunks that are none": (lambda h, send: bad_chunks(h), "", ["broke off"], 3),
    "a length that is no number": (lambda h, send: send(h, BODY, content_length="many"), "", ["not understood"], None),
    "gzip that is none": (lambda h, send: send(h, BODY, content_encoding="gzip"), "", ["broke off"], 3),
    "another file": (lambda h, send: send(h, BODY[::-1]), KNOWN["sha1"], ["sha1 is", "a paper says"], 1),
    "other bytes than the catalogue says": (lambda h, send: send(h, BODY), "bytes = 7", ["600000 bytes, not 7"], 1),
    "more than a disk": (lambda h, send: send(h, b"x", content_length=str(10**15)), "", ["1,000,000 GB"], 1),
    "endless": (lambda h, send: endless(h), "bytes = 1000", ["more than the 1000 bytes"], 1),
    "a circle": (lambda h, send: send(h, b"", status=302, location="/a.npy"), "", ["leads on without end"], None),
    "to a file": (lambda h, send: send(h, b"", status=302, location="file:///etc/passwd"), "", ["no http address"], 1),
    "to nowhere": (lambda h, send: send(h, b"", status=302, location="http://127.0.0.1:1/x"), "", ["no connection"], 3),
    "to no host": (lambda h, send: send(h, b"", status=302, location="http://[::1/x"), "", ["not understood"], 1),
}  # fmt: skip


@pytest.mark.parametrize("day", ANSWERS)
def test_a_bad_answer_is_one_line_and_leaves_nothing(server, catalogue, tmp_path, send, day):
    act, lines, words, asked = ANSWERS[day]
    server.answers["a.npy"] = lambda handler: act(handler, send)
    line = refused(catalogue({"a.npy": lines}))
    for word in words:
        assert word in line, line
    assert line.startswith("set: a.npy could not be fetched from http://127.0.0.1")
    assert f"put it there as {tmp_path}/sets/set/a.npy" in line
    assert left(tmp_path) == []
    assert asked is None or server.asked.count("a.npy") == asked


def test_no_network_is_one_line_that_says_what_can_be_done(catalogue, tmp_path, caplog):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/a.npy"  # bound, but nobody listens
        line = refused(catalogue({"a.npy": ""}, urls=[url]))
    assert line == (
        f"set: a.npy could not be fetched from {url}: no connection; is there a network?; by hand: download it, put it "
        f"there as {tmp_path}/sets/set/a.npy, then say the same again"
    )
    assert left(tmp_path) == [] and not caplog.records


def test_led_from_https_to_http_is_refused():
    from netphys.neural.catalogue.entries import RemoteFile

    file = RemoteFile(filename="a.npy", urls=["https://example.org/a.npy"], found_in="a test")
    answer = downloading._Answer(file.urls[0], file, Path("/"))
    with pytest.raises(downloading._Failed, match="which is not https"):
        answer._require_safe("http://example.com/a.npy")
    answer._require_safe("https://example.com/a.npy")
    answer._require_safe("/elsewhere")


def test_redirects_to_elsewhere_are_followed(server, catalogue, send):
    server.files["there"] = BODY
    server.answers["a.npy"] = lambda handler: send(handler, b"", status=302, location="/there")
    fetch("set", catalogue=catalogue({"a.npy": KNOWN["sha1"]}))
    assert server.asked == ["a.npy", "there"]


def test_a_body_without_a_length_is_taken(server, catalogue, send):
    server.answers["a.npy"] = lambda handler: send(handler, BODY, content_length="")
    assert (fetch("set", catalogue=catalogue({"a.npy": ""})) / "a.npy").read_bytes() == BODY


@pytest.mark.parametrize("lines", ["", "bytes = 600000"])
def test_no_space_is_said_before_the_body_comes(server, catalogue, tmp_path, monkeypatch, lines):
    server.files["a.npy"] = BODY
    usage = shutil.disk_usage(tmp_path)._replace(free=500_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    line = refused(catalogue({"a.npy": lines}))
    assert "it needs 0.6 MB, 0.5 MB are free; name another folder by --into or NETPHYS_DATA" in line
    assert left(tmp_path) == [] and server.asked == ([] if lines else ["a.npy"])


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no folder here that refuses even root")
def test_a_folder_that_cannot_be_written(server, catalogue):
    server.files["a.npy"] = BODY
    with pytest.raises(OutputError, match="cannot write /sys/kernel"):
        fetch("set", into="/sys/kernel", catalogue=catalogue({"a.npy": ""}))
    assert server.asked == []


def test_a_file_in_the_way_of_the_folder(catalogue, tmp_path):
    (tmp_path / "sets").write_text("in the way")
    assert "cannot write" in refused(catalogue({"a.npy": ""}))


@pytest.mark.parametrize("text", ["", "[]", '{"files": {"a.npy": {}}}', '{"files": 3}', "{", '{"name": "set"}'])
def test_a_record_that_is_none(catalogue, tmp_path, text):
    folder = tmp_path / "sets" / "set"
    folder.mkdir(parents=True)
    (folder / "fetched.json").write_text(text)
    line = refused(catalogue({"a.npy": ""}))
    assert "is not the record of a fetch" in line and str(folder / "fetched.json") in line


BY_HAND = """
how = "ask the authors for it"
page = "https://example.org/apply"
address = "data.npy?region=IT"
"""


@pytest.mark.parametrize("access", ["page", "apply"])
def test_a_set_that_is_got_by_hand_says_how_and_is_found_where_it_was_put(catalogue, tmp_path, access):
    sets = catalogue({}, more=BY_HAND, access=access)
    folder = tmp_path / "sets" / "set"
    assert refused(sets) == (
        "set is not fetched by netphys: ask the authors for it (https://example.org/apply); "
        f"then put data.npy into {folder}"
    )
    assert not is_fetched(sets["set"]) and left(tmp_path) == []
    folder.mkdir(parents=True)
    (folder / "data.npy").write_bytes(b"x")
    assert is_fetched(sets["set"]) and fetch("set", catalogue=sets) == folder


def test_an_unknown_name(catalogue):
    with pytest.raises(NeuralDataError, match="no set 'sett'; near: 'set'"):
        fetch("sett", catalogue=catalogue({"a.npy": ""}))


CHILD = """
import sys
from netphys.neural.catalogue import Catalogue, fetch
print(fetch("set", catalogue=Catalogue.read(sys.argv[1])))
"""


def child(tmp_path: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", CHILD, str(tmp_path / "catalogue.toml")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_at_once_fetch_it_once(server, catalogue, tmp_path, send):
    go_on = threading.Event()

    def answer(handler):
        go_on.wait(10)
        send(handler, BODY)

    server.answers["a.npy"] = answer
    catalogue({"a.npy": KNOWN["sha1"]})
    both = [child(tmp_path), child(tmp_path)]
    while not server.asked:
        time.sleep(0.01)
    time.sleep(0.3)  # the other one meets the lock
    go_on.set()
    for each in both:
        out, err = each.communicate(timeout=20)
        assert each.returncode == 0 and out.strip() == str(tmp_path / "sets" / "set"), err
    assert server.asked == ["a.npy"]
    assert left(tmp_path) == ["set", "set/a.npy", "set/fetched.json"]


def test_killed_in_the_middle_the_next_fetch_is_right(server, catalogue, tmp_path, send):
    begun, sets = threading.Event(), catalogue({"a.npy": KNOWN["sha1"]})

    def half(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.end_headers()
        handler.wfile.write(BODY[:300_000])
        begun.set()
        time.sleep(10)

    server.answers["a.npy"] = half
    killed = child(tmp_path)
    assert begun.wait(10)
    time.sleep(0.2)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not is_fetched(sets["set"]) and not (tmp_path / "sets" / "set" / "a.npy").exists()
    assert any(name.endswith(".netphys-tmp") for name in left(tmp_path))  # what a kill leaves
    server.answers["a.npy"] = lambda handler: send(handler, BODY)
    assert (fetch("set", catalogue=sets) / "a.npy").read_bytes() == BODY
    assert left(tmp_path) == ["set", "set/a.npy", "set/fetched.json"]


def test_the_progress_is_logged_not_printed(server, catalogue, capsys, caplog):
    caplog.set_level(logging.INFO)
    server.answers["a.npy"] = lambda handler: handler.send_error(500)
    refused(catalogue({"a.npy": ""}))
    assert "again (2 of 3)" in caplog.text and capsys.readouterr() == ("", "")


def test_sets_of_netphys_are_not_reached_by_accident():
    """Control of these tests: an entry that leads elsewhere would be asked for over the network."""
    assert all("127.0.0.1" not in url for entry in Catalogue.read() for file in entry.files for url in file.urls)


@pytest.mark.slow
def test_killed_at_random_moments_and_then_right(server, catalogue, tmp_path, send):
    """Ten kills anywhere between start and end; the server drips, so that most fall into the transfer."""
    sets, moments = catalogue({"a.npy": KNOWN["sha1"], "b.npy": ""}), np.random.default_rng(0).uniform(0.1, 1.2, 10)

    def drip(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.end_headers()
        for at in range(0, len(BODY), 60_000):
            handler.wfile.write(BODY[at : at + 60_000])
            handler.wfile.flush()
            time.sleep(0.05)

    server.answers["a.npy"] = server.answers["b.npy"] = drip
    for moment in moments:
        killed = child(tmp_path)
        time.sleep(moment)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        for name in ("a.npy", "b.npy"):
            path = tmp_path / "sets" / "set" / name
            assert not path.exists() or path.read_bytes() == BODY
    folder = fetch("set", catalogue=sets)
    assert is_fetched(sets["set"]) and all((folder / name).read_bytes() == BODY for name in ("a.npy", "b.npy"))
    assert left(tmp_path) == ["set", "set/a.npy", "set/b.npy", "set/fetched.json"]
