"""What a dtype name in a trace means: bytes per item and the precision of arithmetic on it.

Traces spell dtypes as the C++ compiler does (``"c10::BFloat16"``, ``"long int"``); torch's own
spellings (``"torch.bfloat16"``, ``"BFloat16"``) are known too.

Source:
    The names: every dtype of torch 2.13 profiled with ``record_shapes=True``; torch's
    ``ScalarType`` names and numbers: c10/core/ScalarType.h and torch/headeronly/core/ScalarType.h.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Dtype", "dtype_named", "scalar_type_name", "widest_precision"]


@dataclass(frozen=True, slots=True)
class Dtype:
    """One dtype."""

    size_byte: int
    """Bytes of one stored item."""
    precision: str | None
    """``fp64``, ``fp32``, ``fp16``, ``bf16``, ``fp8``, ``fp4`` or ``int8``; None where no matmul runs in it.

    ``fp32`` may run as TF32: the dtype does not say. A complex dtype has the precision of its parts.
    """
    packed: int = 1
    """Values in one stored item; 2 for ``float4_e2m1fn_x2``."""


_FP8 = Dtype(1, "fp8")
_INT8 = Dtype(1, "int8")

_SPELLINGS: tuple[tuple[Dtype, tuple[str, ...]], ...] = (
    (Dtype(8, "fp64"), ("double", "Double", "float64")),
    (Dtype(4, "fp32"), ("float", "Float", "float32")),
    (Dtype(2, "fp16"), ("c10::Half", "Half", "float16", "half")),
    (Dtype(2, "bf16"), ("c10::BFloat16", "BFloat16", "bfloat16")),
    (_FP8, ("c10::Float8_e4m3fn", "Float8_e4m3fn", "float8_e4m3fn")),
    (_FP8, ("c10::Float8_e4m3fnuz", "Float8_e4m3fnuz", "float8_e4m3fnuz")),
    (_FP8, ("c10::Float8_e5m2", "Float8_e5m2", "float8_e5m2")),
    (_FP8, ("c10::Float8_e5m2fnuz", "Float8_e5m2fnuz", "float8_e5m2fnuz")),
    (Dtype(1, None), ("c10::Float8_e8m0fnu", "Float8_e8m0fnu", "float8_e8m0fnu")),  # scales only
    (Dtype(1, "fp4", packed=2), ("c10::Float4_e2m1fn_x2", "Float4_e2m1fn_x2", "float4_e2m1fn_x2")),
    (_INT8, ("signed char", "Char", "int8", "c10::qint8", "qint8")),
    (_INT8, ("unsigned char", "Byte", "uint8", "c10::quint8", "quint8")),
    (Dtype(1, None), ("bool", "Bool")),
    (Dtype(2, None), ("short int", "Short", "int16", "short unsigned int", "UInt16", "uint16")),
    (Dtype(4, None), ("int", "Int", "int32", "unsigned int", "UInt32", "uint32", "c10::qint32", "qint32")),
    (Dtype(8, None), ("long int", "Long", "int64", "long unsigned int", "UInt64", "uint64")),
    (Dtype(8, None), ("long long int", "long long", "long long unsigned int")),  # Windows and macOS
    (Dtype(4, "fp16"), ("c10::complex<c10::Half>", "ComplexHalf", "complex32")),
    (Dtype(8, "fp32"), ("c10::complex<float>", "ComplexFloat", "complex64")),
    (Dtype(16, "fp64"), ("c10::complex<double>", "ComplexDouble", "complex128")),
)

_DTYPES: Mapping[str, Dtype] = {name: dtype for dtype, names in _SPELLINGS for name in names}

_SCALAR_TYPES: Mapping[int, str] = {
    0: "Byte",
    1: "Char",
    2: "Short",
    3: "Int",
    4: "Long",
    5: "Half",
    6: "Float",
    7: "Double",
    8: "ComplexHalf",
    9: "ComplexFloat",
    10: "ComplexDouble",
    11: "Bool",
    15: "BFloat16",
    23: "Float8_e5m2",
    24: "Float8_e4m3fn",
    25: "Float8_e5m2fnuz",
    26: "Float8_e4m3fnuz",
    27: "UInt16",
    28: "UInt32",
    29: "UInt64",
    44: "Float8_e8m0fnu",
    45: "Float4_e2m1fn_x2",
}

_WIDEST_FIRST = ("fp64", "fp32", "bf16", "fp16", "fp8", "fp4", "int8")


def dtype_named(name: str) -> Dtype | None:
    """The dtype of that name; None where it is none (``""``, ``"Scalar"``, ``"TensorList"``, ...)."""
    return _DTYPES.get(name.removeprefix("torch."))


def scalar_type_name(number: int) -> str | None:
    """The dtype name behind a ``ScalarType`` argument, recorded as a number: 15 is ``"BFloat16"``."""
    return _SCALAR_TYPES.get(number)


def widest_precision(names: Iterable[str]) -> str | None:
    """The precision of a matmul on operands of these dtypes; None where one of them is unknown.

    The wider operand decides: e5m2 with e4m3 runs in fp8, int8 weights under bf16 activations are
    expanded to bf16 first.
    """
    dtypes = [dtype_named(name) for name in names]
    precisions = {dtype.precision if dtype else None for dtype in dtypes}
    if None in precisions:
        return None
    return next((precision for precision in _WIDEST_FIRST if precision in precisions), None)
