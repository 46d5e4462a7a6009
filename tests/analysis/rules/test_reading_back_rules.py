"""Values read one by one only to look at them: several in a row, outside of what trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from .made import ADAMW, ADD, SQUARE, Training, codes, found
from .programs import Work, filled, on_a_cpu

BACKWARD = Work(us=1_000, dims=SQUARE, node=40)
LOOKED = ("aten::isfinite", "aten::all", "aten::item")


def looked_at(parameters: int, mark: str | None = None) -> list[Work]:
    """Three ops for each parameter: two kernels, and the value read by a copy, which is a kernel here."""
    return [Work(name, 20, ADD, mark=mark) for _ in range(parameters) for name in LOOKED]


def step(*looks: Work) -> Training:
    """Backward, then what looks at the gradients, then the optimizer's one kernel."""
    return filled(BACKWARD, *looks, Work("aten::_fused_adamw_", 100, ADD, mark=ADAMW))


def test_a_value_per_parameter_after_backward_is_found(tmp_path: Path) -> None:
    """10 parameters with three kernels of 20 µs: 600 of 1,740 µs."""
    report = step(*looked_at(10)).report(tmp_path)
    finding = found(report, "reading_back")
    assert finding.share_fraction == pytest.approx(600 / 1_740)
    assert finding.recovered_s == pytest.approx(600e-6) and finding.confidence == "high"
    assert finding.evidence[0].startswith("10 .item(), bool() or equal() a step")
    assert finding.advice[0] == "leave it out, or do it every N steps"


def test_one_value_a_step_is_a_loss_that_is_logged(tmp_path: Path) -> None:
    assert "reading_back" not in codes(step(*looked_at(1)).report(tmp_path))


def test_one_value_between_two_backward_passes_each_is_no_finding(tmp_path: Path) -> None:
    """As with gradient accumulation: ten losses a step, and never two in a row."""
    passes = [one for _ in range(10) for one in (BACKWARD, *looked_at(1))]
    assert "reading_back" not in codes(step(*passes).report(tmp_path))


@pytest.mark.parametrize("mark", [ADAMW, "Optimizer.zero_grad#AdamW.zero_grad"])
def test_values_that_the_optimizer_reads_do_not_count(tmp_path: Path, mark: str) -> None:
    assert "reading_back" not in codes(step(*looked_at(10, mark)).report(tmp_path))


def test_ops_that_read_nothing_do_not_count(tmp_path: Path) -> None:
    looks = [Work(name, 20, ADD) for _ in range(10) for name in ("aten::isfinite", "aten::all", "aten::sum")]
    assert "reading_back" not in codes(step(*looks).report(tmp_path))


def test_values_of_which_gradients_are_made_do_not_count(tmp_path: Path) -> None:
    """Each is followed by an op that autograd records: its sequence number goes on."""
    looks = []
    for index in range(10):
        looks += [Work("aten::item", 20, ADD, sequence=100 + index)]
        looks += [Work("aten::mul", 40, ADD, sequence=100 + index)]
    looks.append(Work("aten::mul", 40, ADD, sequence=110))
    assert "reading_back" not in codes(step(*looks).report(tmp_path))


def test_little_time_is_no_finding(tmp_path: Path) -> None:
    """40 µs of 2,000 would be freed."""
    looks = [Work(name, 10, ADD) for _ in range(2) for name in ("aten::all", "aten::item")]
    made = filled(Work(us=1_820, dims=SQUARE, node=40), *looks, Work("aten::mul", 100, ADD, mark=ADAMW))
    assert "reading_back" not in codes(made.report(tmp_path))


def test_a_cpu_that_looks_at_every_gradient_is_found(tmp_path: Path) -> None:
    """600 of 1,702 µs."""
    made = on_a_cpu(BACKWARD, *looked_at(10), Work("aten::_fused_adamw_", 100, mark=ADAMW))
    finding = found(made.report(tmp_path / "each", device=None), "reading_back")
    assert finding.share_fraction == pytest.approx(600 / 1_702)
    assert finding.recovered_s == pytest.approx(600e-6)
    once = on_a_cpu(BACKWARD, *looked_at(1), Work("aten::_fused_adamw_", 100, mark=ADAMW))
    assert "reading_back" not in codes(once.report(tmp_path / "once", device=None))
