"""One file from its addresses: whole and as its checksum says, or not at all, and one line that says why not.

pooch's downloader does the transfer; what it leaves to others is done here: the length that was announced, a page
where a file was wanted, a redirect away from https, a body without end, tries.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from netphys.errors import NeuralDataError, OutputError
from netphys.files import committing, require_free, sha256_of
from netphys.guards import first_line
from netphys.neural.catalogue.entries import LOOPBACK, RemoteFile
from netphys.progress import bar

__all__ = ["digest_of", "download", "require_checksum", "require_space"]

log = logging.getLogger(__name__)

TIMEOUT = 30.0  # seconds without a byte
TRIES = 3  # of one address, where the fault may pass: no answer, a broken transfer, 429, 5xx
PAUSE = 1.0  # seconds before the second try, twice as long before each further one
MOST = 200 * 10**9  # bytes of a file whose length nobody says
_CHUNK = 1 << 18
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_REASONS = {
    401: "a password is wanted",
    403: "the server does not give it",
    404: "there is no such file any more",
    410: "it was taken away",
    429: "too many requests; wait",
}


class _Failed(Exception):
    """An address that did not give the file; `passing` where another try may."""

    def __init__(self, reason: str, *, passing: bool = False, silent: bool = False) -> None:
        super().__init__(reason)
        self.passing, self.silent = passing, silent


def download(file: RemoteFile, target: Path, *, called: str) -> tuple[str, str]:
    """Fetch a file to `target` from the first of its addresses that gives it.

    Parameters
    ----------
    file : RemoteFile
        Its addresses, and what is known of its bytes.
    target : Path
        Where it will be; nothing is there unless all is well. Its folder must exist.
    called : str
        The set's name, for messages.

    Returns
    -------
    (str, str)
        The address that gave it, and its SHA-256.

    Raises
    ------
    NeuralDataError
        If no address gives it; the line says why, and what can be done by hand.
    OutputError
        If there is no space, or no permission to write.
    """
    reasons = []
    for url in file.urls:
        try:
            return url, _from(url, file, target, called)
        except _Failed as error:
            reasons.append((url, error))
    last_url, last = reasons[-1]
    others = f" ({len(reasons)} addresses were tried)" if len(reasons) > 1 else ""
    network = "; is there a network?" if all(each.silent for _, each in reasons) else ""
    raise NeuralDataError(
        f"{called}: {file.filename} could not be fetched from {last_url}{others}: {last}{network}; "
        f"by hand: download it, put it there as {target}, then say the same again"
    )


def require_checksum(path: Path, file: RemoteFile, *, called: str) -> None:
    """See that a file is the one whose checksum a source gives, and has the bytes that the catalogue says.

    Raises
    ------
    NeuralDataError
        If it is another one.
    """
    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        raise NeuralDataError(
            f"{called}: {path} has {size} bytes, {file.filename} has {file.bytes}; remove it, and fetch it again"
        )
    if not file.checksum:
        return
    algorithm, _, wanted = file.checksum.partition(":")
    found = digest_of(path, algorithm)
    if found != wanted:
        raise NeuralDataError(
            f"{called}: {path} has {algorithm} {found}, but {file.checksum_source} says {wanted}; "
            "it is damaged or another file: remove it, and fetch it again"
        )


def require_space(folder: Path, n_bytes: int, *, what: str) -> None:
    """Refuse to fetch what will not fit.

    Raises
    ------
    OutputError
        If the file system of `folder` has less free.
    """
    try:
        require_free(folder, n_bytes, what=what)
    except OutputError as error:
        said = str(error).partition(";")[0]
        raise OutputError(f"{said}; name another folder by --into or NETPHYS_DATA") from None


def digest_of(path: Path, algorithm: str) -> str:
    """Digest a file's contents, hexadecimal."""
    import pooch

    return sha256_of(path) if algorithm == "sha256" else pooch.file_hash(str(path), alg=algorithm)


def _from(url: str, file: RemoteFile, target: Path, called: str) -> str:
    """Fetch from one address, again where the fault may pass."""
    for attempt in range(TRIES):
        if attempt:
            log.info("%s: %s failed, again (%d of %d)", called, url, attempt + 1, TRIES)
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            with committing(target) as temporary:
                _transfer(url, file, temporary)
                _require_wanted(temporary, file, url)
                return sha256_of(temporary)
        except _Failed as error:
            if not error.passing or attempt == TRIES - 1:
                raise
    raise AssertionError("unreachable")


def _transfer(url: str, file: RemoteFile, temporary: Path) -> None:
    """Let pooch write the body, and see that it is what was announced."""
    import pooch

    answer = _Answer(url, file, temporary.parent)
    with bar(file.bytes or 0, label=file.filename, unit="B") as shown, _told():
        watch = _Watch(answer, shown, temporary)
        fetcher = pooch.HTTPDownloader(
            progressbar=watch,
            chunk_size=_CHUNK,
            timeout=TIMEOUT,
            headers={"Accept-Encoding": "identity"},  # the length announced is that of the file
            hooks={"response": answer.seen},
        )
        fetcher(url, str(temporary), None)
    size = temporary.stat().st_size
    if answer.length is not None and size != answer.length:
        raise _Failed(f"it broke off after {size} of {answer.length} bytes", passing=True)
    if size == 0:
        raise _Failed("the answer is empty", passing=True)


class _Answer:
    """What the server says before it sends the body."""

    def __init__(self, url: str, file: RemoteFile, folder: Path) -> None:
        self.url, self.file, self.folder = url, file, folder
        self.length: int | None = None

    def seen(self, response: Any, **ignored: Any) -> None:
        """Look at an answer, redirects included, before its body is read."""
        if response.is_redirect:
            self._require_safe(response.headers.get("location", ""))
            return
        if response.status_code != 200:
            reason = _REASONS.get(response.status_code, response.reason or "")
            passing = response.status_code in _PASSING
            raise _Failed(f"HTTP {response.status_code} {reason}".rstrip(), passing=passing)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/html" and not self.file.filename.lower().endswith((".html", ".htm")):
            raise _Failed("the server answers with a web page, not with the file; it may want a login")
        said = response.headers.get("content-length", "")
        if said.isdigit() and "content-encoding" not in response.headers:
            self.length = int(said)
            self._require_length()

    def _require_safe(self, location: str) -> None:
        """Refuse to be led from https to http: anybody on the way could put another file in."""
        target = urlsplit(location)
        if urlsplit(self.url).scheme == "https" and target.scheme == "http" and target.hostname not in LOOPBACK:
            raise _Failed(f"it leads on to {location[:100]}, which is not https")
        if target.scheme not in ("", "http", "https"):
            raise _Failed(f"it leads on to {location[:100]}, which is no http address")

    def _require_length(self) -> None:
        assert self.length is not None
        if self.file.bytes is not None and self.length != self.file.bytes:
            raise _Failed(f"the file there has {self.length} bytes, not {self.file.bytes}; it is another one")
        if self.length > MOST:
            raise _Failed(f"{self.length / 1e9:,.0f} GB are announced, more than the {MOST / 1e9:,.0f} GB of a set")
        require_space(self.folder, self.length, what=self.file.filename)


class _Watch:
    """What pooch takes for a progress bar: shows the bytes, and stops a body that does not end."""

    def __init__(self, answer: _Answer, shown: Any, temporary: Path) -> None:
        self.answer, self.shown, self.temporary = answer, shown, temporary
        self.total, self.written, self.done = 0, 0, False

    def update(self, n: int) -> None:
        """Count bytes; pooch says a whole chunk also for the last one."""
        if self.done:
            return
        if not self.written and self.answer.length:
            self.shown.total = self.answer.length
        self.written += n
        self.shown.update(n)
        limit = self.answer.length or self.answer.file.bytes or MOST
        if self.written > limit + _CHUNK and self.temporary.stat().st_size > limit:
            raise _Failed(f"more than the {limit} bytes of the file were sent")
        if not self.answer.length and self.written % (64 * _CHUNK) == 0:
            require_space(self.temporary.parent, 64 * _CHUNK, what=self.answer.file.filename)

    def reset(self) -> None:
        """All is there: pooch tells the whole length again after this."""
        self.done = True

    def close(self) -> None:
        """Nothing to do: whoever opened the bar closes it."""


@contextmanager
def _told() -> Iterator[None]:
    """Turn what requests raises into a reason."""
    import requests

    try:
        yield
    except requests.exceptions.Timeout:
        raise _Failed(f"no answer within {TIMEOUT:g} s", passing=True, silent=True) from None
    except requests.exceptions.TooManyRedirects:
        raise _Failed("it leads on without end") from None
    except requests.exceptions.SSLError as error:
        raise _Failed(f"its certificate is not accepted ({first_line(error)})") from None
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as error:
        raise _Failed(f"the transfer broke off ({first_line(error)})", passing=True) from None
    except requests.exceptions.ConnectionError as error:
        if "timed out" in str(error).lower():
            raise _Failed(f"no answer within {TIMEOUT:g} s", passing=True, silent=True) from None
        raise _Failed("no connection", passing=True, silent=True) from None
    except (requests.exceptions.RequestException, ValueError) as error:  # an address that is led on to, and is none
        raise _Failed(f"the answer is not understood ({first_line(error)})") from None


def _require_wanted(temporary: Path, file: RemoteFile, url: str) -> None:
    """See that the bytes are those of the source's checksum."""
    if not file.checksum:
        return
    algorithm, _, wanted = file.checksum.partition(":")
    found = digest_of(temporary, algorithm)
    if found != wanted:
        raise _Failed(f"{algorithm} is {found}, but {file.checksum_source} says {wanted}; it is another file")
