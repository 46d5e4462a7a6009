"""Results of a gate as JUnit XML, which every CI shows: a test case a limit, a failure where it is not kept.

Messages may quote a trace. What does not print is shown as an escape, as everywhere; that leaves no character
that XML 1.0 forbids.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from mfu_profiler.analysis.gate import GateResult
from mfu_profiler.render.names import shown_text

__all__ = ["render_junit"]


def render_junit(results: Sequence[GateResult], suite: str = "mfu_profiler") -> str:
    """One suite, with XML declaration and final newline; each message on one line.

    Args:
        results: in the order of the test cases.
        suite: its name, and the class name of the cases.

    """
    name = shown_text(suite)
    counts = {
        "tests": str(len(results)),
        "failures": str(sum(not result.ok for result in results)),
        "errors": "0",
        "skipped": "0",
        "time": "0",
    }
    root = ElementTree.Element("testsuites", {"name": name, **counts})
    within = ElementTree.SubElement(root, "testsuite", {"name": name, **counts})
    for result in results:
        case = ElementTree.SubElement(
            within, "testcase", {"classname": name, "name": shown_text(result.name), "time": "0"}
        )
        message = shown_text(result.message)
        if result.ok:
            ElementTree.SubElement(case, "system-out").text = message
        else:
            failure = ElementTree.SubElement(case, "failure", {"message": message, "type": "limit"})
            failure.text = message
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'
