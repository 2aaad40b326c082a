"""A file server on 127.0.0.1 whose answers a test chooses, and catalogues whose addresses lead to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from netphys.neural.catalogue import Catalogue, downloading

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Server:
    """Files and answers by path; what was asked for."""

    root: str
    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def url(self, name: str) -> str:
        return f"{self.root}/{name}"


@pytest.fixture
def server() -> Iterator[Server]:
    """Serve files from memory; a name that is not there is 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/").partition("?")[0]
            known.asked.append(name)
            if name in known.answers:
                known.answers[name](self)
            elif name in known.files:
                send(self, known.files[name])
            else:
                self.send_error(404)

        def log_message(self, *ignored: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    known = Server(f"http://127.0.0.1:{http.server_address[1]}")
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield known
    http.shutdown()
    http.server_close()
    thread.join()


def send(handler: BaseHTTPRequestHandler, body: bytes, *, status: int = 200, **headers: str) -> None:
    """Send a whole answer; ``content_length="7"`` says another length, ``content_length=""`` none."""
    said = {"Content-Type": "application/octet-stream", "Content-Length": str(len(body))}
    said |= {key.replace("_", "-").title(): value for key, value in headers.items()}
    handler.send_response(status)
    for key, value in said.items():
        if value:
            handler.send_header(key, value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Wait for nothing, and keep sets in the test's own folder."""
    monkeypatch.setattr(downloading, "PAUSE", 0.0)
    monkeypatch.setattr(downloading, "TIMEOUT", 0.4)
    monkeypatch.setenv("NETPHYS_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("NETPHYS_CATALOGUE", raising=False)


@pytest.fixture(name="send")
def _send() -> Callable[..., None]:
    """Send a whole answer of the server."""
    return send


HEAD = """
[[sets]]
name = "{name}"
title = "A set"
kind = "rdms"
species = "macaque"
regions = ["IT"]
stimuli = "4"
neuroids = "5"
subjects = "1"
licence = "none stated"
homepage = "https://example.org"
access = "{access}"
seen = "all of it"
{more}
[[sets.papers]]
authors = ["Doe, Jane A", "Roe, Richard"]
title = "A paper"
year = 2020
journal = "Journal"
doi = "10.1234/abc"
"""
FILE = """
[[sets.files]]
filename = "{filename}"
urls = {urls}
found_in = "a test"
{more}
"""


@pytest.fixture
def catalogue(server: Server, tmp_path: Path) -> Callable[..., Catalogue]:
    """Write a catalogue of one set, ``set``, and read it: file name -> further lines of its entry."""

    def make(
        files: dict[str, str], *, more: str = "", access: str = "file", urls: list[str] | None = None
    ) -> Catalogue:
        text = HEAD.format(name="set", access=access, more=more)
        for filename, lines in files.items():
            text += FILE.format(filename=filename, urls=urls or [server.url(filename)], more=lines)
        path = tmp_path / "catalogue.toml"
        path.write_text(text)
        return Catalogue.read(path)

    return make
