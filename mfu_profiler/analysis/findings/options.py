"""Options: what would change numerics, apart from the findings."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mfu_profiler.analysis.findings.thresholds import LEAST_RECOVERED_FRACTION
from mfu_profiler.analysis.fixes.reliefs import Fixes
from mfu_profiler.analysis.replay.predictions import Predictions
from mfu_profiler.analysis.replay.relief import Option
from mfu_profiler.analysis.report import NumericOption

__all__ = ["options_of"]

_ADVICE: Mapping[Option, str] = MappingProxyType(
    {
        "tf32": 'torch.set_float32_matmul_precision("high")',
        "bf16": 'with torch.autocast("cuda", dtype=torch.bfloat16): ...',
        "fp16": 'with torch.autocast("cuda", dtype=torch.float16): ..., and a GradScaler',
        "fp8": "torchao.float8.convert_to_float8_training(model), or Transformer Engine",
    }
)


_FP8_INFERENCE = "torchao.quantization: Float8DynamicActivationFloat8WeightConfig, or Transformer Engine"


def options_of(fixes: Fixes, predictions: Predictions | None, *, trains: bool) -> tuple[NumericOption, ...]:
    """Precisions that the device has and the run does not use, the quickest first, where one gives enough.

    Args:
        fixes: with the options.
        predictions: of the same report; None where there are none.
        trains: whether the steps have a backward pass.

    """
    if predictions is None:
        return ()
    found = [
        NumericOption(option, predictions.step_time_after_s(option), _advice(option, predictions, trains))
        for option in fixes.options
    ]
    most_s = predictions.step_time_s * (1 - LEAST_RECOVERED_FRACTION)
    worth = [option for option in found if option.step_time_after_s <= most_s]
    return tuple(sorted(worth, key=lambda option: option.step_time_after_s))


def _advice(option: Option, predictions: Predictions, trains: bool) -> str:
    change = _ADVICE[option] if trains or option != "fp8" else _FP8_INFERENCE
    return f"{change}; then the host's launches set the pace" if predictions.is_host_next(option) else change
