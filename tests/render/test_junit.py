"""JUnit XML parses, counts what it holds, and shows hostile text as text."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler.analysis.gate import GateResult, Limits, gate_results
from mfu_profiler.render.junit import render_junit
from mfu_profiler.render.names import TEXT_LIMIT, shown_text, visible
from tests.render.sample import HOSTILE_NAME, LONG_NAME, SAMPLES

TEXT = st.text(st.characters(exclude_categories=()), max_size=60)


def suite_of(text: str) -> ElementTree.Element:
    root = ElementTree.fromstring(text.encode())
    assert root.tag == "testsuites"
    (suite,) = root
    assert suite.tag == "testsuite"
    return suite


def test_a_limit_is_a_case_and_a_failure_carries_its_reason() -> None:
    results = [GateResult("mfu", ok=False, message="MFU 28.1 % is under the limit of 35 %")]
    results.append(GateResult("idle", ok=True, message="idle 1 % is not over the limit of 5 %"))
    text = render_junit(results)
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites ') and text.endswith(">\n")
    suite = suite_of(text)
    counted = {name: suite.get(name) for name in ("name", "tests", "failures", "errors", "skipped")}
    assert counted == {
        "name": "mfu_profiler",
        "tests": "2",
        "failures": "1",
        "errors": "0",
        "skipped": "0",
    }
    failed, passed = suite
    assert (failed.get("classname"), failed.get("name")) == ("mfu_profiler", "mfu")
    (failure,) = failed
    assert failure.tag == "failure" and failure.get("message") == failure.text == results[0].message
    assert [(child.tag, child.text) for child in passed] == [("system-out", results[1].message)]


def test_an_empty_gate_is_an_empty_suite_of_the_given_name() -> None:
    suite = suite_of(render_junit([], suite="compare"))
    assert (suite.get("name"), suite.get("tests"), len(suite)) == ("compare", "0", 0)


@pytest.mark.parametrize("sample", sorted(SAMPLES))
def test_every_sample_has_a_case_per_limit_and_report(sample: str) -> None:
    reports = SAMPLES[sample]
    results = gate_results(reports, Limits(0.3, 0.1, {"idle": 0.1, "other-kernels": 0.2}))
    suite = suite_of(render_junit(results))
    assert len(suite) == 4 * max(1, len(reports))
    assert len(suite.findall("testcase/failure")) == sum(not result.ok for result in results)


@pytest.mark.parametrize(
    "name", [HOSTILE_NAME, LONG_NAME, "]]>", "<![CDATA[", "&#0;", "&xxe;", "\ufffe\uffff\0"]
)
def test_names_from_a_trace_are_text(name: str) -> None:
    suite = suite_of(render_junit([GateResult(name, ok=False, message=name)], suite=name))
    (case,) = suite
    (failure,) = case
    shown = shown_text(name)
    assert [suite.get("name"), case.get("name"), failure.get("message"), failure.text] == [shown] * 4
    assert shown.isprintable() and len(shown) <= TEXT_LIMIT
    assert [element.tag for element in suite.iter()] == ["testsuite", "testcase", "failure"]


@given(name=TEXT, message=TEXT, suite=TEXT, ok=st.booleans())
def test_any_text_parses_back_as_it_is_shown(name: str, message: str, suite: str, ok: bool) -> None:
    parsed = suite_of(render_junit([GateResult(name, ok, message)], suite))
    (case,) = parsed
    (child,) = case
    assert parsed.get("name") == visible(suite) and case.get("name") == visible(name)
    assert (child.text or "") == visible(message)
    assert child.tag == ("system-out" if ok else "failure")
