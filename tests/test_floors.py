"""A room imports only from floors below its own (docs/design.md, 1), lazy imports and those for types included."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import netphys

PACKAGE = Path(netphys.__file__).parent
FLOORS = {
    "cli": 6, "studies": 5, "figures": 4,
    "training": 3, "units": 3, "probes": 3, "rsa": 3, "encoding": 3,
    "recording": 2, "objectives": 2, "neural": 2,
    "stimuli": 1, "networks": 1,
}  # fmt: skip
TOP = ("", "__init__", "__main__")  # the package's face knows all rooms


def imports(source: str, module: str) -> set[str]:
    """Return the netphys modules that a source imports anywhere, dotted."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")[: -node.level]
                base = ".".join([*above, base] if base else above)
            found |= {f"{base}.{alias.name}" for alias in node.names} if base == "netphys" else {base}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            found |= {each.value for each in node.args[:1] if isinstance(each, ast.Constant)}
    return {name for name in found if isinstance(name, str) and name.split(".")[0] == "netphys"}


def room_of(module: str) -> str:
    """Name the room, or the shared file, that a dotted module lies in."""
    return (module.split(".") + [""])[1]


def violations(source: str, module: str) -> list[str]:
    """Say what a module imports that it may not."""
    own = room_of(module)
    if own in TOP:
        return []
    faults = []
    for name in sorted(imports(source, module)):
        room = room_of(name)
        if room == own and own in FLOORS:
            continue
        if room in TOP or room in netphys.__all__:
            faults.append(f"{module} imports the package's face ({name})")
        elif FLOORS.get(room, 0) >= FLOORS.get(own, 0) and not (room not in FLOORS and own not in FLOORS):
            faults.append(f"{module} (floor {FLOORS.get(own, 0)}) imports {name} (floor {FLOORS.get(room, 0)})")
    return faults


def modules() -> list[tuple[str, Path]]:
    return [
        (".".join(("netphys", *path.relative_to(PACKAGE).with_suffix("").parts)), path)
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


def test_every_module_keeps_to_its_floor() -> None:
    faults = [fault for module, path in modules() for fault in violations(path.read_text(), module)]
    assert not faults, "\n".join(faults)


def test_every_room_has_a_floor() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms <= FLOORS.keys()


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("netphys.rsa.building", "from netphys.encoding import fit"),  # one floor
        ("netphys.recording.recorder", "def f():\n    from netphys.rsa.building import rdms"),  # lazy
        ("netphys.stimuli.readers.folder", "if TYPE_CHECKING:\n    from netphys.networks import Network"),  # for types
        ("netphys.files", "import netphys.stimuli.readers.folder"),  # a shared file looks up
        ("netphys.neural.data", "from netphys import recording"),
        ("netphys.neural.data", "from ..recording import hooks"),
        ("netphys.networks.own", "import importlib\nimportlib.import_module('netphys.cli.main')"),
        ("netphys.rsa.building", "from netphys import record"),  # through the face
    ],
)
def test_a_violation_is_caught(module: str, source: str) -> None:
    """Control: sources made up to break the rule."""
    assert len(violations(source, module)) == 1


def test_what_is_allowed_is_not_caught() -> None:
    allowed = (
        "import numpy\nfrom netphys.errors import near\nfrom netphys.recording.file.store import pack\nfrom . import x"
    )
    assert violations(allowed, "netphys.rsa.building") == []
