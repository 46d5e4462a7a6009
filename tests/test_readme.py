"""The README says what the product does today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mfu_profiler.cli.main import main

from .conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text()


def command(environment: str) -> str:
    (line,) = re.findall(rf"^python3 -m venv {re.escape(environment)} .*$", README, re.MULTILINE)
    return str(line)


def test_the_report_in_the_readme_is_what_the_command_prints(
    shared_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = shared_dir / "traces" / "kineto_resnet50_workers0_v100.json.gz"
    (shown,) = re.findall(r"\$ python -m mfu_profiler report (\S+)\n\n(.*?)```", README, re.DOTALL)
    name, report = shown
    assert main(["report", str(trace)]) == 0
    printed = capsys.readouterr().out
    # The path is the only difference; a long one wraps, so its paragraph is compared by its words.
    assert words_without_path(report, name) == words_without_path(printed, str(trace))


def words_without_path(text: str, path: str) -> list[str]:
    before, _, after = text.rstrip().partition("\n  trace ")
    return [*before.split("\n"), *after.replace("\n", " ").split(path.split("/")[-1])[-1].split()]


def test_both_commands_use_the_constraints_that_pin_torch() -> None:
    assert "torch==2.13.0" in (REPOSITORY / "constraints.txt").read_text().splitlines()
    for environment in (".venv", ".venv-test"):
        assert f"{environment}/bin/pip install --quiet -c constraints.txt" in command(environment)


def test_the_makefile_does_what_the_readme_says() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for environment in (".venv", ".venv-test"):
        for part in command(environment).split(" && "):
            assert part.removeprefix("python3 ") in makefile


def test_every_page_that_the_readme_links_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert len(links) >= 6
    assert [link for link in links if not (REPOSITORY / link).is_file()] == []
