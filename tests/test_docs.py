"""What the README and the docs show runs, parses, or is what the README's commands print.

==========  ==============================================================================================
a block in  must
==========  ==============================================================================================
python      run, with small stand-ins for what a reader has: a model, a loader, a training step
sh          hold commands that parse with our own options; on the shipped trace they run. So must a block
            in no language
yaml        hold such commands after each ``run:``; other programs are the workflow's own
console     the same after each ``$``; what is on the shipped trace prints what stands below it
text        be an excerpt of the README, on the pages that explain its report; elsewhere it is a picture, a
            formula or a synopsis
==========  ==============================================================================================

Any other language fails: it needs a rule here first.
"""

from __future__ import annotations

import io
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import typer

from mfu_profiler.cli.main import app, main

from .conftest import REPOSITORY
from .docs_blocks import PAGES, Block, blocks, commands, inline_commands

ALL = [block for page in PAGES for block in blocks(page)]
EXCERPTS = ("docs/reading-a-report.md", "docs/index.md")
SHIPPED = "examples/traces/"
GROUP: Any = typer.main.get_command(app)


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.place)
def test_a_block_is_what_its_language_says(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert block.language in RULES, f"{block.place}: no rule for the language {block.language!r}"
    RULES[block.language](block, tmp_path, monkeypatch)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_text_have_the_options_that_they_name(page: Path) -> None:
    """Synopses and words such as TRACE stand there, so only command and options are held."""
    shown = [line for block in blocks(page) for line in block.text.splitlines()]
    synopses = [line for line in shown if "-m mfu_profiler" in line]
    for text in (*inline_commands(page), *synopses):
        words = re.split(r"[\s\[\]]+", text.partition("-m mfu_profiler")[2].strip())
        if words[0].isupper() or words[0].startswith(("-", "{")) or not words[0]:
            continue
        assert words[0] in GROUP.commands, f"{page.name}: {text}"
        known = {name for parameter in GROUP.commands[words[0]].params for name in parameter.opts}
        own = words[1:]
        if words[0] == "run":  # what follows the script is the script's
            own = own[: next((at for at, word in enumerate(own) if word.endswith(".py")), len(own))]
        named = {word.partition("=")[0] for word in own if re.match(r"--[a-z]", word)}
        assert named <= {*known, "--help"}, f"{page.name}: {text}"


def run_python(block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="the blocks train a model")
    from .docs_stand_ins import stand_ins

    monkeypatch.chdir(folder)
    for name in ("trace.json.gz", "merged.json.gz"):
        shutil.copy(REPOSITORY / SHIPPED / "gpt_cpu.json.gz", folder / name)
    namespace = stand_ins()
    exec(compile(block.text, block.place, "exec"), namespace)
    namespace["run"].stop()


def check_commands(block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    found = commands(block.text)
    assert found
    for words in found:
        check_command(words)


def check_console(block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    parts = re.split(r"^\$ (.+)\n", block.text, flags=re.MULTILINE)
    assert parts[0] == "" and len(parts) > 1, f"{block.place}: the first line is no command"
    for line, shown in zip(parts[1::2], parts[2::2], strict=True):
        (words,) = commands(line)
        printed = check_command(words)
        assert printed is None or printed.strip() == shown.strip()


def check_workflow(block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = re.findall(r"run: (python -m mfu_profiler .+)$", block.text, re.MULTILINE)
    assert lines, f"{block.place}: the workflow runs nothing of ours"
    for line in lines:
        (words,) = commands(line)
        check_command(words)


def check_text(block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line after line of the README, with gaps: what was left out is not shown as if it were there."""
    if block.place.rpartition(":")[0] not in EXCERPTS:
        return
    readme = iter((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines())
    for line in block.text.splitlines():
        assert any(line == other for other in readme), f"{block.place}: not in the README (any more): {line}"


RULES: dict[str, Callable[[Block, Path, pytest.MonkeyPatch], None]] = {
    "python": run_python,
    "sh": check_commands,
    "": check_commands,
    "yaml": check_workflow,
    "console": check_console,
    "text": check_text,
}


def check_command(words: Sequence[str]) -> str | None:
    """What the command prints, where it is one of ours on the shipped trace; else it only parses."""
    program, *rest = words
    if program == "torchrun":
        at = rest.index("-m")
        assert rest[at + 1] == "mfu_profiler"
        return check_ours(rest[at + 2 :])
    if program.rpartition("/")[2] in ("python", "python3"):
        return check_python(rest)
    rule = PROGRAMS.get(program.rpartition("/")[2])
    assert rule is not None, f"no rule for the program {program!r}"
    rule(rest)
    return None


def check_python(words: Sequence[str]) -> str | None:
    if words[0] != "-m":
        assert (REPOSITORY / words[0]).is_file()
        return None
    if words[1] == "mfu_profiler":
        return check_ours(words[2:])
    assert words[1] in ("venv", "pytest")
    return None


def check_ours(words: Sequence[str]) -> str | None:
    command, arguments = GROUP.commands[words[0]], list(words[1:])
    command.make_context(words[0], list(arguments))  # raises a usage error
    if not any(word.startswith(SHIPPED) for word in arguments):
        return None
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert main(list(words)) == 0
    return printed.getvalue()


def check_pip(words: Sequence[str]) -> None:
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert words[0] == "install"
    for word in words[1:]:
        for extra in re.findall(r"\[([\w,]+)\]", word):
            assert all(re.search(rf"^{name} = \[", project, re.MULTILINE) for name in extra.split(","))
    if "-c" in words:
        assert (REPOSITORY / words[words.index("-c") + 1]).is_file()


def check_make(words: Sequence[str]) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{word}:", makefile, re.MULTILINE) for word in words)


def check_tensorboard(words: Sequence[str]) -> None:
    assert words[0] == "--logdir"


PROGRAMS: dict[str, Callable[[Sequence[str]], None]] = {
    "pip": check_pip,
    "make": check_make,
    "tensorboard": check_tensorboard,
}


@pytest.mark.parametrize(
    "line", ["report trace.json --peek-tflops 3", "reprot trace.json", "report trace.json --peak guess"]
)
def test_a_command_that_does_not_parse_is_found(line: str) -> None:
    with pytest.raises(Exception, match=r"reprot|No such option|guess"):
        check_ours(shlex.split(line))
