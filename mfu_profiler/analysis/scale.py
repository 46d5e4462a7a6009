"""What published runs of a kind reach, so that a reader knows whether a number is good."""

from __future__ import annotations

from dataclasses import dataclass

from mfu_profiler.analysis.report import Scale

__all__ = ["scale_of"]


@dataclass(frozen=True, slots=True)
class _Published:
    workload: str
    """``transformer`` or ``convolution``."""
    precision: str
    text: str
    source: str


_LLAMA = "arXiv:2407.21783, table 4"
_RESNET = "NVIDIA DeepLearningExamples, ResNet50 v1.5, one GPU, 24.3 GFLOP an image"

_PUBLISHED = (
    _Published(
        "transformer", "bf16", "published bf16 LLM training: 38 to 43 % (Llama 3.1 405B, H100)", _LLAMA
    ),
    _Published(
        "transformer",
        "fp16",
        "published fp16 LLM training: HFU 43 to 52 % (Megatron-LM, A100)",
        "arXiv:2104.04473, table 1 (recomputation counted)",
    ),
    # img/s x 24.299 GFLOP over the peak: 356 to 367 on V100 (15.7), 1156 to 1200 in fp16 (125);
    # 938 on A100 in TF32 (156), 2470 in mixed precision (312).
    _Published("convolution", "fp32", "published fp32 ResNet-50 training: 55 to 57 % (V100)", _RESNET),
    _Published("convolution", "fp16", "published fp16 ResNet-50 training: 19 to 23 % (V100, A100)", _RESNET),
    _Published("convolution", "tf32", "published TF32 ResNet-50 training: 15 % (A100)", _RESNET),
)
"""Training only; inference has no such table (decoding is bound by memory, prefill by matmuls)."""


def scale_of(workload: str | None, precision: str | None, is_training: bool) -> Scale | None:
    """The published figure for a kind of run; None where there is none."""
    if not is_training:
        return None
    for row in _PUBLISHED:
        if row.workload == workload and row.precision == precision:
            return Scale(row.text, row.source)
    return None
