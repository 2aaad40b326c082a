"""The README cannot lie: its Python example runs as printed, its links and commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netphys.cli.main import make_parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs_as_printed_and_has_at_most_ten_lines(tmp_path, monkeypatch, capsys):
    example, _ = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    assert "best of 13 layers" in capsys.readouterr().out
    assert (tmp_path / "alexnet-it.csv").stat().st_size > 500
    assert (tmp_path / "alexnet-it.pdf").read_bytes().startswith(b"%PDF")


def test_the_example_of_a_training_runs_with_smaller_numbers(tmp_path, monkeypatch, capsys):
    _, example = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    for number, smaller in (("n=5000", "n=160"), ("n_steps=400", "n_steps=2"), ("n=500&", "n=20&"), ("n=1600", "n=64")):
        assert number in example
        example = example.replace(number, smaller)
    small = example.replace("n_steps=2", "n_steps=2, batch_size=16").replace("width=32", "width=4")
    monkeypatch.chdir(tmp_path)
    exec(compile("import netphys\n" + small, "README.md", "exec"), {})
    assert "object" in capsys.readouterr().out
    assert (tmp_path / "simclr" / "network.toml").is_file() and (tmp_path / "top.h5").is_file()


def test_links_lead_to_files():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_table_lists_every_command():
    parser = make_parser()
    (commands,) = [action for action in parser._actions if action.dest == "command"]
    listed = re.findall(r"^\| `netphys (\w+)", README, flags=re.MULTILINE)
    assert listed == list(commands.choices)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_links_of_the_pages_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
