"""``netphys units``: one line on stdout, the page; a mistake is one line."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from netphys.cli import units
from netphys.cli.options import Parser
from netphys.errors import LayerNotFound, OptionError


def run(*arguments: str) -> None:
    """Run the command as `netphys units` would."""
    parser = Parser(prog="netphys")
    units.add(parser.add_subparsers(parser_class=Parser))
    options: argparse.Namespace = parser.parse_args(["units", *arguments])
    options.call(options)


STIMULI = "world:scenes?n=6&size=32"


def test_leaves_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--out", str(tmp_path), "--k", "4", "--show", "3"]
    run("netphys:small_alexnet", STIMULI, "--layers", "relu1", "pool5", *options)
    said = capsys.readouterr()
    page = tmp_path / "units" / "netphys-small_alexnet" / "index.html"
    assert said.out == f"{page}\n" and page.is_file() and page.with_name("top.h5").is_file()
    assert "netphys:small_alexnet: 320 units of 2 layers, 4 of 6 stimuli each, " in said.err
    assert "3 of 64 units" in page.read_text()


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LayerNotFound, match="no layer 'rely1' in netphys:small_alexnet; near: 'relu1'"):
        run("netphys:small_alexnet", STIMULI, "--layers", "rely1", "--out", str(tmp_path))
    with pytest.raises(OptionError, match="k=0: at least one patch a unit"):
        run("netphys:small_alexnet", STIMULI, "--layers", "relu1", "--out", str(tmp_path), "--k", "0")
    with pytest.raises(SystemExit) as ended:
        run("netphys:small_alexnet", STIMULI, "--out", str(tmp_path))
    assert ended.value.code == 2 and "--layers" in capsys.readouterr().err
