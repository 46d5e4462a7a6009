"""Names from a trace are inert, readable and short."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from mfu_profiler.render.names import fitted, fitted_names, short_name, shown_name, shown_text, visible

LAMBDA = "(at::TensorIteratorBase&)::{lambda()#3}::operator()() const::{lambda(float)#1}"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (
            (
                "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, "
                "at::detail::Array<char*, 3> >(int, at::native::CUDAFunctor_add<float>)"
            ),
            "vectorized_elementwise_kernel<CUDAFunctor_add>",
        ),
        (
            (
                "void at::native::elementwise_kernel<128, 4, at::native::gpu_kernel_impl_nocast<"
                f"at::native::direct_copy_kernel_cuda{LAMBDA}>(at::TensorIteratorBase&)::{{lambda(int)#1}}>(int)"
            ),
            "elementwise_kernel<direct_copy_kernel_cuda>",
        ),
        (
            (
                "void at::native::elementwise_kernel<128, 2, at::native::BinaryFunctor<float, float, float, "
                "at::native::binary_internal::MulFunctor<float> > >(int)"
            ),
            "elementwise_kernel<MulFunctor>",
        ),
        (
            "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_bf16_256x128_64x3_tn_align2>(Params)",
            "cutlass_80_tensorop_bf16_s16816gemm_bf16_256x128_64x3_tn_align2",
        ),
        (
            "void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<64, 128>, false>(P)",
            "flash_fwd_kernel",
        ),
        (
            (
                "std::enable_if<(((8)>(0)))&&vllm::_typeConvert<c10::BFloat16>::exists, void>::type "
                "vllm::fused_add_rms_norm_kernel<c10::BFloat16, 8>(c10::BFloat16*, long)"
            ),
            "fused_add_rms_norm_kernel",
        ),
        (
            "void (anonymous namespace)::softmax_warp_forward<c10::Half, float, 11>(c10::Half*)",
            "softmax_warp_forward",
        ),
        (
            (
                "_ZN7cutlass13device_kernelIN2at4cuda6detail25enable_3x_kernel_for_sm10INS_4gemm6kernel"
                "13GemmUniversalINS5_17GroupProblemShapeILi64EEEEEEEvNT_6ParamsE"
            ),
            "GemmUniversal",
        ),
        (
            "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
            "ncclDevKernel_AllReduce_Sum_bf16_RING_LL",
        ),
        ("Memcpy HtoD (Pageable -> Device)",) * 2,
        ("nvjet_tst_256x128_64x4_1x2_h_bz_coopA_NNT",) * 2,
        ("triton_poi_fused__to_copy_add_3",) * 2,
        ("",) * 2,
    ],
)
def test_kernel_names_keep_what_tells_them_apart(name: str, shown: str) -> None:
    assert shown_name(name, 70) == shown


def test_long_names_lose_their_middle() -> None:
    assert fitted("sm90_xmma_gemm_bf16_tn_n_tilesize128x128x64", 21) == "sm90_xmma_gemm…128x64"
    name = "void ns::vectorized_elementwise_kernel<4, ns::AddFunctor<float> >(int)"
    assert shown_name(name, 24) == "vectorized_…<AddFunctor>"
    assert cell_len(fitted("日本語の名前" * 30, 21)) <= 21


def test_ten_kilobytes_of_template_arguments_fit() -> None:
    name = "void f<" + "std::tuple<" * 900 + ">" * 900 + ">(int)"
    assert shown_name(name, 40) == "f"
    assert cell_len(shown_name("x" * 10_000, 40)) == 40
    assert cell_len(shown_text("evidence " * 10_000)) <= 600


def test_equal_short_names_are_numbered() -> None:
    assert fitted_names(["kernel", "other", "kernel"], 12) == ["kernel", "other", "kernel #2"]
    assert fitted_names(["kernel_a_long", "kernel_b_long"], 9) == ["kernel…ng", "kern…g #2"]


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("\x1b", "\\x1b"),
        ("\x9b", "\\x9b"),
        ("\n", "\\n"),
        ("\x7f", "\\x7f"),
        ("\u202e", "\\u202e"),
        ("\u2066", "\\u2066"),
        ("\u200b", "\\u200b"),
        ("\u2028", "\\u2028"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("\u00a0", " "),
    ],
)
def test_what_does_not_print_becomes_a_visible_escape(character: str, shown: str) -> None:
    assert visible(f"a{character}b") == f"a{shown}b"


def test_piled_up_accents_stay_on_their_line() -> None:
    assert visible("e\u0301") == "e\u0301"
    assert visible("e" + "\u0301" * 4) == "e\u0301\u0301\\u0301\\u0301"


@given(st.text(alphabet=st.characters(exclude_categories=())), st.integers(1, 50))
def test_no_text_breaks_out_of_its_cell(text: str, width: int) -> None:
    for shown in (shown_name(text, width), fitted(visible(text), width)):
        assert cell_len(shown) <= width
        assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(st.text(alphabet="<>(){}:ab _Z0123456789,IEN"))
def test_no_bracket_salad_breaks_the_shortener(text: str) -> None:
    assert len(short_name(text)) <= len(text) + 1  # a bracket left open is closed
