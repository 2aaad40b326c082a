"""The process that decodes files for another one: ``python -m netphys.stimuli.readers.worker``.

It is given the bytes of files on its standard input and answers with pixels on its standard output; it opens nothing
itself. Nothing is pickled, and the user's script is not imported again. It ends when its input does, so that it
outlives nobody, and when nobody has asked for a while.

A question is a header (its length in 4 bytes, then JSON: ``kind``, ``wants``, and name and size of each of ``files``)
and the files. The answer is for each file a header and, where there is one, the value.
"""

from __future__ import annotations

import io
import json
import os
import select
import struct
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from netphys.errors import StimulusError
from netphys.stimuli.readers.kinds import decode_file
from netphys.stimuli.sources import value_digest

__all__ = ["answer", "pack", "serve", "unpack"]

IDLE_S = 30.0  # seconds without a question after which a worker ends: nobody has to end it
_LENGTH = struct.Struct("<I")


def pack(header: dict[str, Any]) -> bytes:
    """Write a message's header."""
    text = json.dumps(header).encode()
    return _LENGTH.pack(len(text)) + text


def unpack(exactly: Callable[[int], bytes | memoryview]) -> dict[str, Any]:
    """Read a message's header by a function that reads so many bytes."""
    (length,) = _LENGTH.unpack(exactly(_LENGTH.size))
    return json.loads(bytes(exactly(length)))


def answer(kind: str, name: str, wants: list[str], contents: bytes) -> tuple[dict[str, Any], memoryview]:
    """Decode one file.

    Parameters
    ----------
    kind, name : str
        Its kind, and what messages call it.
    wants : list
        Of ``"value"`` and ``"digest"``.
    contents : bytes
        The file.

    Returns
    -------
    (dict, memoryview)
        What is said of it, and the value's bytes. ``broken`` is the text of a :class:`StimulusError`; ``unsaid`` tells
        that something else was raised, or that the value is no array.
    """
    nothing = memoryview(b"")
    try:
        value, words = decode_file(kind, io.BytesIO(contents), name)
    except StimulusError as error:
        return {"broken": str(error)}, nothing
    except Exception:
        return {"unsaid": True}, nothing
    if not isinstance(value, np.ndarray):
        return {"unsaid": True}, nothing
    said: dict[str, Any] = {"words": list(words)}
    if "digest" in wants:
        said["digest"] = value_digest(value)
    if "value" not in wants:
        return said, nothing
    value = np.ascontiguousarray(value)
    return said | {"shape": value.shape, "dtype": value.dtype.str}, value.reshape(-1).view(np.uint8).data


def serve(questions: int, answers: int, *, idle_s: float = IDLE_S) -> None:
    """Answer what comes on one file descriptor on another one, until it ends."""

    def exactly(n: int) -> memoryview:
        read, into = 0, memoryview(bytearray(n))
        while read < n:
            got = os.readv(questions, [into[read:]])
            if not got:
                raise EOFError
            read += got
        return into

    while select.select([questions], [], [], idle_s)[0]:
        try:
            question = unpack(exactly)
            # all of it is read before anything is said: two that both write and do not read would wait for ever
            files = [(name, bytes(exactly(n_bytes))) for name, n_bytes in question["files"]]
            for name, contents in files:
                said, value = answer(question["kind"], name, question["wants"], contents)
                for part in (memoryview(pack(said)), value):
                    while len(part):
                        part = part[os.write(answers, part) :]
        except (EOFError, BrokenPipeError):
            return


def main() -> None:
    """Serve on standard input and output; what a codec prints goes nowhere."""
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    sys.stdout = sys.stderr = io.StringIO()
    serve(0, answers)


if __name__ == "__main__":
    main()
