"""C++ kernel names as a person would say them.

::

    void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, ...>(int, ...)
         ~~~~~~~~~~~~ ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^     ~~~~~~~~~~~~ ^^^^^^^^^^^^^^^
         namespace    head                                           what makes this instance different

becomes ``vectorized_elementwise_kernel<CUDAFunctor_add>``. Mangled names (``_ZN7cutlass13device_...``)
are read by the same rule. What is not C++ (``nvjet_...``, ``Cijk_...``, ``Memcpy HtoD (...)``,
``triton_...``) stays as it is.
"""

from __future__ import annotations

import re

__all__ = ["short_kernel_name"]

_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*")
_DEEP = re.compile(r"(?<![\w$])([A-Za-z_$][\w$]*)(::)?")
"""An identifier, and whether it is a namespace."""
_MANGLED = re.compile(
    r"(?P<skipped>S[0-9A-Z]*_|T[0-9]*_|L[a-z]n?[0-9]+E)"  # back reference, template parameter, literal
    r"|(?P<length>[0-9]{1,3})"
)
_PRIMITIVE = re.compile(
    r"(void|bool|char|short|int|long|unsigned|signed|float|double|half|const|size_t|auto|true|false"
    r"|u?int[0-9]+(_t)?|u?long|float[0-9]+|double2|__half2?|__nv_\w+|t?b?float[0-9]\w*_t|half_t|e[0-9]m[0-9]\w*"
    r"|BFloat16|Half|Float8\w*|complex)"
)
_WRAPPER = re.compile(
    r"(lambda|operator|anonymous|namespace|std|array|Array|tuple|pair|C|integral_constant|nullptr_t"
    r"|(A|B)?UnaryFunctor|BinaryFunctor|gpu_kernel_impl\w*|ReduceOp|func_wrapper_t|OpaqueType|Policy[0-9]*|policy_hub"
    r"|\w*OffsetCalculator|\w*TensorListMetadata|\w*_traits|\w*Traits|enable_\w+|(Load|Store)With\w+"
    r"|cudnnKernelDataType_t|SortOrder|\w*Params|GemmShape|MatrixShape|Tensor|Var|identity_decomposer_t|DeviceRadixSortPolicy|adamMode_t)"
)
"""Names that stand around the one that matters, in PyTorch, cuDNN, CUTLASS and CUB."""
_BARE_HEAD = re.compile(r"(Kernel[0-9]*|device_kernel|kernel|global_kernel|_kernel_agent)")
"""Heads that say nothing; the template argument is the name."""


def short_kernel_name(name: str) -> str:
    """The head of a C++ function name with the template argument that tells instances apart."""
    if name.startswith("_Z"):
        head, deeper = _mangled_parts(name)
    elif "::" in name or "<" in name or re.search(r"\w\(", name):
        head, deeper = _demangled_parts(name)
    else:
        return name
    telling = next((word for word in deeper if word != head and not _says_nothing(word)), None)
    if not head:
        return telling or name
    if telling is None:
        return head
    return telling if _BARE_HEAD.fullmatch(head) else f"{head}<{telling}>"


def _says_nothing(word: str) -> bool:
    return bool(_PRIMITIVE.fullmatch(word) or _WRAPPER.fullmatch(word))


def _demangled_parts(name: str) -> tuple[str, list[str]]:
    """The function's own name, and the identifiers in its template arguments, outermost first."""
    text = name.replace("(anonymous namespace)::", "").removeprefix("void ")
    path, arguments = _split_templates(text)
    head = path.rsplit("::", 1)[-1].strip().rsplit(" ", 1)[-1]
    return head, [match[1] for match in _DEEP.finditer(arguments) if not match[2]]


def _split_templates(text: str) -> tuple[str, str]:
    """The text before the parameters without its ``<...>``, and the contents of the last of those.

    ``std::enable_if<true, float>::type f<Add>(int)`` -> ``("std::enable_if::type f", "Add")``.
    """
    outside: list[str] = []
    opened: list[str] = []
    start, last = 0, ""
    for index, character in enumerate(text):
        if character == "(" and not opened:
            break
        if character in "<(":
            start = start if opened else index + 1
            opened.append(character)
        elif opened and character in ">)":
            _close(opened, character)
            last = last if opened else text[start:index]
        elif not opened:
            outside.append(character)
    return "".join(outside), text[start:] if opened else last


def _close(opened: list[str], bracket: str) -> None:
    """Removes the partner of a closing bracket; a ``>`` inside round ones is a comparison or an arrow."""
    if bracket == ")":
        while opened and opened.pop() != "(":
            pass
    elif opened[-1] == "<":
        opened.pop()


def _mangled_parts(name: str) -> tuple[str, list[str]]:
    """The same of an Itanium-mangled name, in which each identifier follows its length."""
    head, words = "", []
    in_head = True
    position = 2
    while match := _MANGLED.search(name, position):
        position = match.end()
        if match["skipped"]:
            continue
        word = name[position : position + int(match["length"])]
        if len(word) != int(match["length"]) or not _IDENTIFIER.fullmatch(word):
            continue
        position += len(word)
        ends_path = not name[position : position + 1].isdigit()
        if in_head:
            head = word
            in_head = not ends_path
        elif ends_path:
            words.append(word)
    return head, words
