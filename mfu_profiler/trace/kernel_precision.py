"""The arithmetic precision that a matmul, convolution or attention kernel names in its own name.

The question it answers: did an fp32 op on Ampere or later run as TF32 or as fp32? The op's input types say
``float`` either way; the kernel's name tells. What a name does not say is None, never a guess: the caller
falls back to the op's input types.

"Precision" is that of the operands as they enter the multiplication, because it sets the peak: bf16 operands
with fp32 accumulation are ``"bf16"``, fp16 data multiplied on the fp32 pipeline (``volta_sgemm_fp16``) is
``"fp32"``. Of two different operands the slower type counts (``fp4`` times ``fp8`` runs at the fp8 rate).

>>> kernel_precision("sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize32x32x8_stage3")
'tf32'
>>> kernel_precision("ampere_sgemm_128x64_nn")
'fp32'
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from mfu_profiler.trace.kernel_kinds import SEARCHED_LENGTH, kernel_kind

__all__ = ["KernelPrecision", "kernel_precision"]

KernelPrecision = Literal["fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "fp4", "int8"]

_MULTIPLYING_KINDS: Final = frozenset({"matmul", "convolution", "attention"})

_SAYS_NOTHING: Final = re.compile(
    r"splitK_?reduce|ReduceSplitK|OffsetsKernel|ToNhwc|ToNchw|transpose_|SubTensorOp|scalePacked|prepare_grouped"
    r"|sdpa_sm\d+_flash_\w{0,20}f16|cutlass[FB]_f32"
)
"""Helpers name what they move, not what is multiplied. cuDNN writes ``f16`` for any 16-bit attention
(Megatron runs bf16 under that name). PyTorch's fp32 memory-efficient attention multiplies in 3xTF32 from
Ampere on (mem_eff_attention/gemm_kernel_utils.h, OpMultiplyAddFastF32): neither fp32 nor TF32 speed."""

_TENSILE: Final = re.compile(r"Cijk_A[a-z]{3}C?_B[a-z]{3}C?_(4xi8|I8|[FB]8(?:[FB]8)?N?|[SDCZHBX])(_MX)?")
_TENSILE_CODES: Final[Mapping[str, KernelPrecision]] = MappingProxyType(
    {
        "S": "fp32",
        "C": "fp32",
        "D": "fp64",
        "Z": "fp64",
        "H": "fp16",
        "B": "bf16",
        "X": "tf32",
        "I8": "int8",
        "4xi8": "int8",
    }
)
"""Codes of the operands' type; what begins with F8 or B8 is fp8. ``S_MX`` multiplies fp32 data as XF32.
Source: ROCm/hipBLASLt tensilelite/Tensile/Common/DataType.py, F32XdlMathOp of ProblemType."""

_NVJET: Final = re.compile(r"^nvjet_(?:sm[0-9]+[a-z]?_)?(?:([a-z])[a-z]{2}|([a-z])([a-z])[a-z]{3})_")
_NVJET_LETTERS: Final[Mapping[str, KernelPrecision]] = MappingProxyType(
    {
        "d": "fp64",
        "s": "tf32",
        "t": "bf16",
        "h": "fp16",
        "q": "fp8",
        "r": "fp8",
        "o": "fp4",
        "b": "int8",
    }
)
"""Three letters: operands, accumulator, result; five: both operands, C, accumulator, result. cuBLASLt's
generator emits tensor-core code only, so fp32 data (``sss``) is multiplied as TF32.
Source: aten::mm, addmm and _scaled_mm of traces modded_nanogpt_8xh100 (tst; qqtst; qrtst and rqsss, with e5m2
as r) and tracelens_b200_tp; fp16 as ``hsh``, int8 as ``biu``, NVFP4 as ``ootst`` with UE4M3 scales in public
Nsight reports."""

_SLOWEST_FIRST: Final[tuple[KernelPrecision, ...]] = (
    "fp64",
    "fp32",
    "tf32",
    "bf16",
    "fp16",
    "int8",
    "fp8",
    "fp4",
)

_XMMA_TYPE: Final = r"(?:tf32|bf16|f16|f32|f64|e4m3|e5m2|[iu]8|[is]32)"
_XMMA: Final = re.compile(rf"_{_XMMA_TYPE}{{1,2}}_({_XMMA_TYPE}){_XMMA_TYPE}_{_XMMA_TYPE}_")
_XMMA_MATH: Final[Mapping[str, KernelPrecision]] = MappingProxyType(
    {
        "tf32": "tf32",
        "bf16": "bf16",
        "f16": "fp16",
        "f32": "fp32",
        "f64": "fp64",
        "e4m3": "fp8",
        "e5m2": "fp8",
        "i8": "int8",
        "u8": "int8",
    }
)
"""``xmma_gemm_<A><B>_<math><accumulator>_<result>``. Source: public Nsight reports with and without TF32
show ``sm90_xmma_gemm_f32f32_tf32f32_f32`` and ``sm80_xmma_gemm_f32f32_f32f32_f32`` (ffma); trace
hta_host_bound_a100."""

_TRTLLM: Final = re.compile(
    r"^(?:bmm|gemm)_[A-Za-z0-9]+_([A-Za-z0-9]+)_Fp32|^fmhaSm\w+?Kernel_Qkv(E4m3|Bfloat16|Fp16)"
)
_TRTLLM_TYPES: Final[Mapping[str, KernelPrecision]] = MappingProxyType(
    {"Bfloat16": "bf16", "Fp16": "fp16", "E4m3": "fp8", "E2m1": "fp4"}
)
"""``bmm_<result>_<A><B>_<accumulator>``, one type where both are equal. Source: TensorRT-LLM trtllm-gen;
trace tracelens_b200_tp, ``bmm_Bfloat16_MxE2m1MxE4m3_Fp32`` for mxfp4 weights and mxfp8 activations."""


class _Rule(NamedTuple):
    precision: KernelPrecision
    pattern: re.Pattern[str]
    source: str


def _rule(precision: KernelPrecision, pattern: str, source: str) -> _Rule:
    return _Rule(precision, re.compile(pattern), source)


_RULES: Final = (
    # The name of a pipeline decides before the name of a type, which may be the data's or the result's.
    _rule("tf32", r"tf32|tfloat32", "CUTLASS python/cutlass_library/gemm_operation.py, DataTypeNames"),
    _rule(
        "fp32",
        r"(?<![a-z])s(?:gemm|cudnn)|simt_sgemm|convolve_sgemm|(?<![a-z])g?cgemm",
        "cuBLAS and cuDNN: FFMA kernels",
    ),
    _rule("fp64", r"(?<![a-z])[dz]gemm|_d884|_d1688|_d16816", "cuBLAS; CUTLASS: DMMA instructions"),
    _rule(
        "int8",
        r"_i(?:8816|8832|16832|16816)|int8|(?<![a-z])igemm_s8",
        "CUTLASS gemm_operation.py: IMMA; MIOpen",
    ),
    _rule(
        "fp16",
        r"(?<![a-z])h(?:gemm|cudnn|884|1688|16816)|_s884",
        "cuBLAS; CUTLASS: Volta's HMMA takes fp16 only",
    ),
    # Narrow types before wide ones: a kernel that takes fp8 often writes bf16. "ue4m3" is a scale's type.
    _rule("fp4", r"e2m1|xf4_|nvfp4|mxfp4|f4gemm", "CUTLASS block-scaled names; AITER"),
    _rule("fp8", r"(?<!u)e4m3|e5m2|float8|fp8|f8f8", "CUTLASS; DeepGEMM sm90_fp8_gemm; __nv_fp8_e4m3"),
    _rule("bf16", r"bfloat16|BFloat16", "cutlass::bfloat16_t, __nv_bfloat16, hip_bfloat16, c10::BFloat16"),
    _rule("fp16", r"half_t|__half|c10::Half|<half\b", "cutlass::half_t, __half, c10::Half"),
    _rule("bf16", r"bf16", "cuBLAS ampere_bf16_s16816gemm; CUTLASS; MIOpen; mem_eff_attention"),
    _rule("fp16", r"(?<![a-z])fp?16(?![0-9])", "cuBLAS ampere_fp16_s16816gemm; CUTLASS f16; MIOpen fp16"),
    _rule(
        "bf16",
        r"^_ZN2ck.*?[EI_]t{2,4}f",
        "CK: bhalf_t is ushort, mangled t; trace tracelens_mi300x_resnet_checkpoint",
    ),
    _rule("fp32", r"(?<![a-z0-9])fp32(?![0-9])", "MIOpen miopenSp3AsmConv_v30_3_1_gfx9_fp32_f2x3_stride1"),
    _rule(
        "fp64",
        r"(?:gem[mv]\w{0,40}|engine)(?:::kernel)?<(?:int, int, )?double\b",
        "cuBLAS and cuDNN template arguments",
    ),
    _rule(
        "fp32",
        r"(?:gem[mv]\w{0,40}|engine|winograd\w{0,40})(?:::kernel)?<(?:int, int, )?float\b",
        "trace hta_control_a100_nccl",
    ),
    # cuBLAS's own build of CUTLASS, which carries the architecture: fp32 operands on the 16x8x8 instruction,
    # up to 111 TFLOP/s in trace hta_control_a100_nccl, where 3xTF32 would end at 52. In names without the
    # architecture CUTLASS means 3xTF32 by the same "s1688gemm", so those stay None.
    _rule(
        "tf32", r"cutlass_[89][0-9]_tensorop_s1688gemm", "traces hta_control_a100_nccl, hta_cudagraph_a100"
    ),
)


@lru_cache(maxsize=65_536)
def kernel_precision(name: str) -> KernelPrecision | None:
    """The precision in which a kernel multiplies; None where its name says none, or nothing is multiplied."""
    shown = name[:SEARCHED_LENGTH]
    if kernel_kind(name) not in _MULTIPLYING_KINDS or _SAYS_NOTHING.search(shown):
        return None
    for coded in (_tensile(shown), _nvjet(shown), _xmma(shown), _trtllm(shown)):
        if coded is not None:
            return coded
    return next((rule.precision for rule in _RULES if rule.pattern.search(shown)), None)


def _tensile(name: str) -> KernelPrecision | None:
    found = _TENSILE.search(name)
    if found is None:
        return None
    code, xfloat = found.groups()
    if xfloat:
        return "tf32"
    return _TENSILE_CODES.get(code, "fp8")


def _nvjet(name: str) -> KernelPrecision | None:
    found = _NVJET.search(name)
    if found is None:
        return None
    return _slowest(_NVJET_LETTERS.get(letter) for letter in found.groups() if letter)


def _xmma(name: str) -> KernelPrecision | None:
    found = _XMMA.search(name)
    return _XMMA_MATH.get(found.group(1)) if found else None


def _trtllm(name: str) -> KernelPrecision | None:
    found = _TRTLLM.search(name)
    if found is None:
        return None
    operands = found.group(1) or found.group(2)
    return _slowest(precision for label, precision in _TRTLLM_TYPES.items() if label in operands)


def _slowest(operands: Iterable[KernelPrecision | None]) -> KernelPrecision | None:
    """The type that sets the rate; None if one of the operands is of an unknown type."""
    present = set(operands)
    if None in present:
        return None
    return next((precision for precision in _SLOWEST_FIRST if precision in present), None)
