"""``netphys probe`` from the line: what it prints, and one line for each mistake."""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import pytest

import netphys
from netphys.cli import probe as command
from netphys.cli import record as record_command
from netphys.cli.options import Parser
from netphys.errors import NetphysError
from netphys.recording.keep import KEEPS


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    table = pd.DataFrame({"category": ["light", "dark"] * 20, "scene": np.arange(40) // 4, "same": "x"})
    pixels = np.random.default_rng(0).integers(0, 100, (40, 3, 16, 16), dtype=np.uint8)
    pixels[::2] += 100
    shown = netphys.StimulusSet.from_arrays(pixels, metadata=table, name="shades")
    path = tmp_path_factory.mktemp("cli") / "rec.h5"
    return netphys.record("netphys:pixels", shown, layers="pixels", keep="pooled", into=path).path


def run(*line):
    parser = Parser(prog="netphys")
    command.add(parser.add_subparsers(parser_class=Parser))
    options: argparse.Namespace = parser.parse_args(["probe", *map(str, line)])
    options.call(options)


def test_the_line_of_the_help(recorded, tmp_path, capsys):
    run(recorded, "--labels", "category", "--groups", "scene", "--out", tmp_path / "out")
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'out' / 'index.html'}\n"
    assert "rec, category: 1.000" in said.err and "chance 0.5" in said.err
    assert pd.read_csv(tmp_path / "out" / "probe.csv")["score"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (["--labels", "categories"], "the metadata of netphys:pixels have no column 'categories'; near: 'category'"),
        (["--labels", "same"], "all stimuli are 'x' in 'same'; a probe needs two classes or more"),
        (["--labels", "absent.csv:x"], "there is no file absent.csv"),
        (["--labels", "category", "--test", "1.5"], "a share between 0 and 1, not 1.5"),
        (["--labels", "category", "--test", "0.99"], "has fewer than 2 training stimuli"),
        (["--labels", "category", "--pool", "max"], "pool='max' is not known"),
        (["--labels", "category", "--layers", "conv"], "conv"),
    ],
)
def test_a_mistake_is_one_line(recorded, tmp_path, line, text):
    with pytest.raises(NetphysError, match=text) as caught:
        run(recorded, *line, "--out", tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_the_help_of_record_lists_all_that_can_be_kept(capsys):
    parser = Parser(prog="netphys")
    record_command.add(parser.add_subparsers(parser_class=Parser))
    with pytest.raises(SystemExit):
        parser.parse_args(["record", "--help"])
    assert f"--keep {'|'.join(KEEPS)}" in capsys.readouterr().out
