"""``kernel_precision``: real kernel names and the precision that they name."""

from __future__ import annotations

import gzip
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler.trace.kernel_kinds import kernel_kind
from mfu_profiler.trace.kernel_precision import KernelPrecision, kernel_precision
from tests.conftest import require_shared

_CK = "_ZN2ck16tensor_operation6device12_GLOBAL__N_139kernel_grouped_conv_fwd_xdl_cshuffle_v3INS_28Gridwise"

REAL_NAMES: dict[str | None, tuple[str, ...]] = {
    "fp32": (
        "ampere_sgemm_128x64_nn",
        "volta_sgemm_64x32_sliced1x4_tn",
        "volta_sgemm_fp16_128x64_tn",  # fp16 data, multiplied on the fp32 pipeline
        "void cutlass::Kernel2<cutlass_80_simt_sgemm_128x32_8x5_nn_align1>(...::Params)",
        "sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize128x128x8_stage3_warpsize2x2x1_ffma_aligna4",
        "volta_scudnn_128x64_relu_interior_nn_v1",
        "cudnn_infer_ampere_scudnn_128x64_relu_xregs_large_nn_v1",
        "void implicit_convolve_sgemm<float, float, 1024, 6, 7, 3, 3, 5, 1, false, true, true>(...)",
        "void cudnn::cnn::wgrad_alg0_engine<float, 128, 6, 7, 3, 3, 5, false, 512>(...)",
        "void gemv2T_kernel_val<int, int, float, float, float, float, 128, 16, 2, 2, false, false, ...>",
        "std::enable_if<!(false), void>::type internal::gemvx::kernel<int, int, float, float, float, float>",
        "Cijk_Ailk_Bljk_SB_MT128x128x4_SE_K1",
        "Cijk_Ailk_Bljk_S_B_Bias_HA_S_SAV_UserArgs_MT256x128x16_MI16x16x1",
        "miopenSp3AsmConv_v30_3_1_gfx9_fp32_f2x3_stride1",
    ),
    "tf32": (
        "sm90_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize128x128x32_warpgroupsize1x1x1_execute_segment_k_off",
        "sm80_xmma_fprop_implicit_gemm_indexed_tf32f32_tf32f32_f32_nhwckrsc_nchw_tilesize128x128x16_stage4_",
        "void cutlass::Kernel<cutlass_80_tensorop_s1688gemm_256x128_32x3_nt_align4>(...::Params)",
        "void cutlass_cudnn_infer::Kernel<cutlass_tensorop_s1688dgrad_optimized_tf32_64x128_32x3_nhwc_align4",
        "void cutlass::Kernel2<cutlass_tensorop_s1688tf32gemm_256x128_16x3_nn_align4>(...)",
        "cutlass3x_sm100_tensorop_s256x256x8tf32gemm_f32_f32_f32_256x128x32_2sm_bias_f32_relu",
        "_ZN19cutlass_cudnn_train6KernelINS_4conv6kernel23ImplicitGemmConvolutionINS_10tfloat32_tENS_9transf",
        "nvjet_sm100_sss_128x256_64x4_2x1_h_bz_TNT",
        "Cijk_Alik_Bljk_S_MX_B_UserArgs_MT128x128x32_MI16x16x1_CMS_SN_LDSB0",
    ),
    "bf16": (
        "ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_stages_64x3_nn",
        "void cutlass::Kernel2<cutlass_75_tensorop_bf16_s1688gemm_bf16_64x64_nn_align1>(...::Params)",
        "void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_32x32_128x2_tn_align8>(...)",
        "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k",
        "nvjet_tst_256x128_64x4_1x2_h_bz_coopA_NNT",
        "nvjet_tss_256x128_64x4_1x2_h_bz_coopA_TNT",  # bf16 in, fp32 out
        "nvjet_sm100_tst_8x64_64x16_1x4_h_bz_TNN",
        "nvjet_sm120_tst_mma_64x64x128_3_32x32x128_tmaAB_alignCD4_bz_TNNN",
        "Cijk_Alik_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs_MT256x192x64_MI16x16x1_SN",
        "Cijk_Alik_Bljk_B_BS_BH_Bias_HA_S_SAV_UserArgs_MT16x16x128_MI16x16x1_SN",
        "igemm_fwd_gtcx3_nhwc_bf16_bx0_ex1_bt64x128x32_wt32x32x8_ws1x1",
        _CK
        + "Gemm_xdl_cshuffle_v3INS_13tensor_layout4gemm8RowMajorENS6_11ColumnMajorES7_ttfttNS0_12element_wis",
        "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128, 4, cutlass::bfloat16_t>",
        "void cutlass::device_kernel<flash::FlashAttnFwdSm90<..., cutlass::bfloat16_t, ...> >",
        "fmha_cutlassF_bf16_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel<...>::Params)",
        "_ZN7cutlass13device_kernelINS_4gemm6kernel13GemmUniversalIN10bfloat16_tEPN26SM100_MMA_F16BF16_2x1SM",
        "void dot_kernel<float, 128, 0, cublasDotParams<cublasGemvTensorStridedBatched<__nv_bfloat16 const>",
    ),
    "fp16": (
        "ampere_fp16_s16816gemm_fp16_128x128_ldg8_f2f_stages_32x5_tn",
        "ampere_fp16_s1688gemm_fp16_256x64_ldg8_f2f_tn",  # 16x8x8 with fp16 named: not TF32
        "turing_h1688gemm_128x128_ldg8_nn",
        "volta_s884gemm_fp16_128x64_ldg8_tn",
        "volta_h884gemm_64x64_ldg8_nn",
        "volta_fp16_s884cudnn_fp16_256x64_ldg8_relu_f2f_exp_small_nhwc2nchw_tn_v1",
        "void cutlass::Kernel2<cutlass_80_tensorop_f16_s16816gemm_relu_f16_128x128_32x5_tn_align8>(...)",
        "sm80_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize192x128x32_stage4_warpsize4x2x1_tensor16x8x16",
        "nvjet_hsh_256x128_64x4_1x2_h_bz_coopA_NNT",
        "nvjet_sm90_hss_64x8_64x16_1x1_h_bz_splitK_NNT",
        "Cijk_Ailk_Bjlk_HHS_BH_MT128x128x32_MI32x32x8x1_SN",
        "void flash_fwd_kernel<Flash_fwd_kernel_traits<128, 128, 64, 4, false, false, cutlass::half_t> >",
    ),
    "fp8": (
        "nvjet_qqtst_192x192_128x4_1x2_h_bz_coopB_TNN",
        "nvjet_qrtst_128x160_128x5_2x1_v_bz_coopA_algo2_TNT",
        "nvjet_rqsss_144x128_128x6_1x2_h_bz_coopA_algo2_TNN",
        "nvjet_sm103_qqtst_128x128_128x6_2x1_2cta_v_bz_Avec32UE8M0_Bvec32UE8M0_TNT",
        "sm90_xmma_gemm_e4m3e4m3_e4m3f32_f32_tn_n_tilesize128x128x128_warpgroupsize1x1x1",
        "cutlass3x_sm90_tensorop_s64x128x32gemm_e4m3_e4m3_f32_bf16_bf16_128x128x128",
        "void deep_gemm::sm90_fp8_gemm_1d2d_impl<(cute::UMMA::Major)0, 0u, 4096u, 1024u, 1u>",
        "bmm_Bfloat16_MxE2m1MxE4m3_Fp32_t128x16x256u2_s3_et128x16_m128x16x32",  # mxfp4 times mxfp8
        "fmhaSm100aKernel_QkvE4m3OBfloat16H64PagedKvCausalP16VarSeqQ128Kv128PersistentContext",
        "Custom_Cijk_Alik_Bljk_F8B8BS_BH_Bias_SHB_HA_S_SAB_SCD_SAV_UserArgs_MT256x256x128_shortname1",
        "Cijk_Alik_Bljk_F8BS_BH_Bias_HA_S_SAB_SAV_UserArgs_MT256x256x128",
    ),
    "fp4": (
        "nvjet_sm100_ootst_128x128_256x7_4x1_2cta_v_bx_Avec16UE4M3_Bvec16UE4M3_TNT",
        "cutlass3x_sm100_bstensorop_s256x192x64gemm_block_scaled_ue4m3xf4_ue4m3xf4_f32_f16_f16_256x192x256",
        "bmm_Bfloat16_E2m1E2m1_Fp32_bA16_bB16_t128x64x256",
    ),
    "fp64": (
        "void cutlass::Kernel2<cutlass_80_tensorop_d884gemm_64x32_16x4_nn_align1>(...)",
        "volta_dgemm_128x64_nn",
        "sm90_xmma_gemm_f64f64_f64f64_f64_tn_n_tilesize64x64x16_stage4_warpsize2x2x1_tensor16x8x8",
        "Cijk_Ailk_Bljk_DB_MT64x64x16_MI16x16x4x1_SN",
    ),
    "int8": (
        "void cutlass::Kernel<cutlass_80_tensorop_i16832gemm_s8_128x64_128x3_tn_align16>(...)",
        "turing_int8_i8816gemm_int8_128x128_ldg16_mma_nt",
        "nvjet_sm120_biu_mma_128x128x128_3_64x32x128_tmaAB_bz_TNNN",
        "Cijk_Alik_Bljk_I8II_BH_MT128x128x64_MI32x32x16x1_SN",
    ),
    None: (
        "attn_fwd",
        "XXT_kernel",
        "triton_tem_fused_mm_2",
        "cutlass_tensorop_s1688gemm_128x128_16x4_nn_align4",  # CUTLASS's own name of 3xTF32
        "nvjet_xyz_256x128_64x4_1x2_h_bz_coopA_NNT",  # letters not known
        "fmha_cutlassF_f32_aligned_64x64_rf_sm80(PyTorchMemEffAttention::...)",  # 3xTF32
        "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x256_4x1x1_kernel0_0",
        "batched_transpose_16x32_half",  # moves 16-bit data, bf16 too
        "void cublasLt::splitKreduce_kernel<32, 16, int, float, __nv_bfloat16, float, false, __nv_bfloat16>",
        "void cudnn::engines_precompiled::nchwToNhwcKernel<__nv_bfloat16, __nv_bfloat16, float, false>",
        "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<c10::BFloat16> >",
        "ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclWorkElem)",
        "Cijk_S_GA",
        "",
    ),
}


@pytest.mark.parametrize(
    ("name", "precision"), [(name, precision) for precision, names in REAL_NAMES.items() for name in names]
)
def test_a_real_name_says_its_precision(name: str, precision: str | None) -> None:
    assert kernel_precision(name) == precision


def test_every_precision_is_shown_by_a_real_name() -> None:
    assert set(REAL_NAMES) == {*get_args(KernelPrecision), None}


@given(st.text(max_size=300))
def test_any_name_has_a_listed_precision_or_none(name: str) -> None:
    assert kernel_precision(name) in REAL_NAMES


@given(st.lists(st.sampled_from([name for names in REAL_NAMES.values() for name in names]), max_size=4))
def test_names_run_together_have_a_listed_precision_or_none(names: list[str]) -> None:
    assert kernel_precision("_".join(names)) in REAL_NAMES


def test_a_v100_multiplies_in_fp32_and_an_a100_in_both_fp32_and_tf32() -> None:
    """One DLRM job on A100 multiplies mostly in TF32, but small shapes still get ``ampere_sgemm``."""
    v100 = {kernel_precision(name) for name in _kernel_names("hta_ns_resolution_v100")}
    a100 = {kernel_precision(name) for name in _kernel_names("hta_control_a100_nccl")}
    assert v100 == {"fp32", None}
    assert a100 == {"fp32", "tf32", None}


def test_an_fp8_training_job_multiplies_in_fp8_beside_bf16() -> None:
    names = _kernel_names("modded_nanogpt_8xh100/rank0")
    assert {kernel_precision(name) for name in names} == {"fp8", "bf16", None}


@pytest.mark.parametrize(
    "trace", ["kineto_resnet50_workers0_v100", "hta_host_bound_a100", "tracelens_mi300x_bert"]
)
def test_only_helpers_and_kernels_without_a_type_in_their_name_say_nothing(trace: str) -> None:
    silent = {
        name
        for name in _kernel_names(trace)
        if kernel_kind(name) in ("matmul", "convolution") and kernel_precision(name) is None
    }
    helpers = ("splitKreduce", "ReduceSplitK", "OffsetsKernel", "scalePacked", "ToNhwc", "ToNchw", "im2col")
    parts = ("generateWinogradTiles", "reduce_wgrad")
    assert not [name for name in silent if not any(part in name for part in (*helpers, *parts))]


class _Event(msgspec.Struct):
    name: Any = ""
    cat: Any = None


class _Trace(msgspec.Struct, rename={"events": "traceEvents"}):
    events: list[_Event]


def _kernel_names(trace: str) -> set[str]:
    folder = require_shared() / "traces"
    with gzip.open(folder / f"{trace}.json.gz") as file:
        data = file.read()
    if data.lstrip()[:1] == b"[":
        events = msgspec.json.decode(data, type=list[_Event])
    else:
        events = msgspec.json.decode(data, type=_Trace).events
    return {event.name for event in events if event.cat in ("kernel", "Kernel")}
