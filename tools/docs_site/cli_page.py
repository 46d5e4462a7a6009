"""The command-line reference, from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import typer

import mfu_profiler.cli.main as command_line
from tools.docs_site.tables import cell, escaped, table

__all__ = ["cli_page"]

_HEAD = """\
# Command-line reference

Every command and option, as `--help` says them. What they are for stands under [The command line](../cli.md).

"""


def cli_page() -> str:
    """A section per command, then the exit statuses."""
    group: Any = typer.main.get_command(command_line.app)
    commands = {name: command for name, command in group.commands.items() if not command.hidden}
    sections = [_section(f"mfu_profiler {name}", name, command) for name, command in commands.items()]
    return _HEAD + "\n".join([_section("mfu_profiler", "General options", group), *sections, _statuses()])


def _section(program: str, title: str, command: Any) -> str:
    context = command.make_context(program, [], resilient_parsing=True)
    shown = [parameter for parameter in command.params if not parameter.hidden]
    arguments = [one for one in shown if one.param_type_name == "argument"]
    options = [one for one in shown if one.param_type_name != "argument"]
    usage = " ".join(["python -m", program, *_usage(arguments, options)])
    parts = [f"## {title}\n", f"{cell(command.help or '')}\n", f"```text\n{usage}\n```\n"]
    if arguments:
        parts.append(table(["argument", "meaning"], (_argument_row(context, one) for one in arguments)))
    if options:
        parts.append(table(["option", "meaning"], (_row(context, one) for one in options)))
    return "\n".join(parts)


def _usage(arguments: Iterable[Any], options: Iterable[Any]) -> list[str]:
    names = [one.metavar or one.name.upper() for one in arguments]
    return [*(["[OPTIONS]"] if any(options) else []), *names]


def _argument_row(context: Any, argument: Any) -> list[str]:
    """Without the Python type that newer versions of typer add."""
    _, meaning = _row(context, argument)
    return [f"`{argument.metavar or argument.name.upper()}`", meaning]


def _row(context: Any, parameter: Any) -> list[str]:
    name, meaning = parameter.get_help_record(context)
    return [f"<code>{cell(name)}</code>", cell(meaning.replace("[required]", "Required."))]


def _statuses() -> str:
    """The table in the entry point's docstring."""
    rule = re.search(r"^(=+) (=+)$", command_line.__doc__ or "", re.MULTILINE)
    if rule is None:
        raise ValueError("mfu_profiler.cli.main has no table of exit statuses")
    lines = (command_line.__doc__ or "")[rule.end() :].split(rule[0])[1].strip().split("\n")
    rows = [line.split(maxsplit=1) for line in lines]
    return "## Exit status\n\n" + table(["status", "meaning"], ([code, _code(text)] for code, text in rows))


def _code(text: str) -> str:
    """A text of reStructuredText, whose code stands in double backticks."""
    parts = text.split("``")
    return "".join(
        f"<code>{escaped(part)}</code>" if at % 2 else escaped(part) for at, part in enumerate(parts)
    )
