"""``kernel_kind``: real kernel names and the kind of work each one does."""

from __future__ import annotations

import gzip
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfu_profiler.trace.kernel_kinds import KERNEL_KINDS, ZERO_FLOP_KINDS, has_no_flop, kernel_kind
from mfu_profiler.trace.kernel_rules import KERNEL_RULES
from tests.conftest import require_shared

LARGEST_OTHER_SHARE = 0.01
"""Of a trace's compute time. Measured: 0 in each of the 31 traces."""

_ATEN = "void at::native::"
_VECTORIZED = "void at::native::vectorized_elementwise_kernel<4, at::native::"
_ANONYMOUS = "void at::native::(anonymous namespace)::"
_CK = "_ZN2ck16tensor_operation6device12_GLOBAL__N_1"
_FOREACH = (
    "void at::native::(anonymous namespace)::multi_tensor_apply_kernel<at::native::(anonymous namespace)::"
)

REAL_NAMES: dict[str, tuple[str, ...]] = {
    "matmul": (
        "ampere_sgemm_128x64_nn",
        "volta_h884gemm_64x64_ldg8_nn",
        "turing_fp16_s1688gemm_fp16_128x128_ldg8_f2f_nt",
        "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_128x64_64x6_tn_align8>(...::Par",
        "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1__5x_cublas",
        "cutlass3x_sm100_tensorop_s256x256x8tf32gemm_f32_f32_f32_256x128x32",
        "nvjet_qqtst_192x192_128x4_1x2_h_bz_coopB_TNN",
        "nvjet_sm100_tst_8x64_64x16_1x4_h_bz_TNN",
        "void splitKreduce_kernel<float, float, float, float, true, false, false>(cublasSplitKParams<float>,",
        "void cublasLt::splitKreduce_kernel<32, 16, int, float, __nv_bfloat16, float>(...)",
        "void cutlass::Kernel<cutlass::reduction::kernel::ReduceSplitK<cutlass::MatrixShape<4, 128>, ...> >",
        "void gemv2T_kernel_val<int, int, float, float, float, float, 128, 16, 2, 2, false, false, ...>",
        "std::enable_if<true, void>::type internal::gemvx::kernel<int, int, __nv_bfloat16, __nv_bfloat16, ..",
        "void dot_kernel<float, 128, 0, cublasDotParams<cublasGemvTensorStridedBatched<float const>, ...> >",
        "void reduce_1Block_kernel<float, 128, 7, cublasGemvTensorStridedBatched<float>, ...>",
        "void epilogue::impl::globalKernel<float, float, float, true, true>(int, int, cublasLtEpilogue_t, ..",
        "_ZN7cutlass13device_kernelIN2at4cuda6detail25enable_3x_kernel_for_sm10INS_4gemm6kernel13GemmUnivers",
        "void at::cuda::detail::prepare_grouped_gemm_data<cutlass::bfloat16_t, cutlass::bfloat16_t, ...>",
        "Cijk_Alik_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs_MT256x192x64_MI16x16x1_SN_LDSB1",
        "Custom_Cijk_Alik_Bljk_F8B8BS_BH_Bias_SHB_HA_S_SAB_SCD_SAV_UserArgs_MT256x256x128_shortname1",
        "rocblas_gemvn_kernel<64, 4, float, float const*>",
        "void deep_gemm::sm90_fp8_gemm_1d2d_impl<(cute::UMMA::Major)0, 0u, 4096u, 1024u, 1u>",
        "bmm_MxE4m3_MxE2m1MxE4m3_Fp32_t128x16x256u2_s3_et128x16_m128x16x32_cga1x1x1_16dp256b_rM_TN",
        "cudnn_generated_fort_native_sm120_matMul_pointwise_pointwise_knob_20_32x32x128_0_0",
        "triton_tem_fused_addmm_gelu_view_9",
        "triton_tem_fused_mm_2",
        "triton_tem_fused__scaled_mm_3",
        "fused_moe_kernel",
        "matmul_kernel",
        "XXT_kernel",
        "ba_plus_cAA_kernel",
        "RNN_blockPersist_fp_GRU<__half, float, float, 256>",
        "void flux::gemm_reduce_scatter_kernel<float>",
        "gemm_kernel",
    ),
    "attention": (
        "void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<64, 128, 128, 4, ...> >",
        "void flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<Flash_bwd_kernel_traits<...>, true, false>",
        "void flash_bwd_dot_do_o_kernel<true, Flash_bwd_kernel_traits<128, 64, 128, 8> >",
        "void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<...> > >",
        "void cutlass::device_kernel<flash::FlashAttnBwdPostprocessConvertdQ<cute::tuple<...> > >",
        "fmha_cutlassB_bf16_aligned_128x64_k64_dropout_sm80(PyTorchMemEffAttention::...::Params)",
        "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x256_4x1x1_kernel0_0",
        "cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma_f16_knob_2_64x64x128_4x1x1_kernel0_0",
        "void cudnn::fusion::compute_dot_do_o_specialized<true, ...>",
        "void attention_kernel_batched_impl<AttentionKernel<cutlass::half_t, cutlass::arch::Sm80, true> >",
        "void ck_tile::kentry<256, 1, ck_tile::FmhaBwdDQDKDVKernel<ck_tile::BlockFmhaBwd...> >",
        "attn_fwd",
        "bwd_kernel_dk_dv",
        "bwd_kernel_dq",
        "_attn_bwd_dkdv",
        "fmhaSm100aKernel_QkvE4m3OBfloat16H64PagedKvCausalP16VarSeqQ128Kv128PersistentContext",
        "_ZN5aiter24fmha_fwd_hd128_bf16_causalE",
        "void flashinfer::BatchPrefillWithPagedKVCacheKernel<...>",
        "kernel_cutlass_kernel_flash_attncuteflash_fwd_sm100FlashAttentionForwardSm100_object_at_",
        "triton_tem_fused_flex_attention_backward_split_transpose_4",
    ),
    "convolution": (
        "void cudnn::cnn::wgrad_alg0_engine<float, 128, 6, 7, 3, 3, 5, false, 512>(int, int, int, float cons",
        "void cudnn::detail::dgrad_engine<float, 512, 6, 5, 3, 3, 3, false>(int, int, int, float const*, ...",
        "void implicit_convolve_sgemm<float, float, 1024, 6, 7, 3, 3, 5, 1, false, true, true>(...)",
        "volta_scudnn_128x64_stridedB_splitK_xregs_large_nn_v1",
        "volta_fp16_s884cudnn_fp16_256x64_ldg8_relu_f2f_exp_small_nhwc2nchw_tn_v1",
        "turing_fp16_s1688cudnn_fp16_128x128_ldg8_relu_f2f_exp_interior_nhwc_tn_v1",
        "volta_scudnn_winograd_128x128_ldg1_ldg4_relu_tile148t_nt_v1",
        "void cudnn::winograd_nonfused::winogradForwardOutput4x4<float, float>(...)",
        "sm80_xmma_dgrad_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nhwc_tilesize128x128x16_cudnn_infer",
        "void cutlass__5x_cudnn::Kernel<cutlass_tensorop_bf16_s16816fprop_optimized_bf16_256x64_32x4_nhwc_al",
        "_ZN19cutlass_cudnn_train6KernelINS_4conv6kernel23ImplicitGemmConvolutionINS1_11threadblock",
        "void cutlass_cudnn_train::Kernel<cutlass_cudnn_train::reduction::kernel::ReduceSplitK<...> >",
        "void fft2d_r2c_32x32<float, false, 1u, false>(float2*, float const*, int, int, ...)",
        "volta_gcgemm_32x32_nt",
        "void cudnn::ops::nchwToNhwcKernel<float, float, float, false, true, (cudnnKernelDataType_t)2>(...)",
        "cask_cudnn::computeWgradSplitKOffsetsKernel(cask_cudnn::ComputeSplitKOffsetsParams)",
        "void cudnn::ops::scalePackedTensor_kernel<float, float>(long, float*, float)",
        "igemm_wrw_gtcx3_nhwc_bf16_bx0_ex1_bt64x64x64_wt32x32x8_ws1x1_wr1x1_gkgs",
        "miopenSp3AsmConv_v30_3_1_gfx9_fp32_f2x3_stride1",
        "gridwise_convolution_implicit_gemm_v4r1_nchw_kcyx_nkhw_lds_double_buffer",
        "naive_conv_ab_nonpacked_fwd_nhwc_half_double_half",
        "batched_transpose_16x32_half",
        "SubTensorOpWithScalar1d",
        "transpose_NCHW2CNHW_V2_2D_WG_off64",
        _CK + "39kernel_grouped_conv_fwd_xdl_cshuffle_v3INS_13tensor_layout4gemm8RowMajorE",
        "_ZN2ck16tensor_operation6device37kernel_batched_gemm_xdlops_bwd_weightINS_47GridwiseGemm_bk0mk1",
        _ANONYMOUS + "conv_depthwise2d_forward_kernel<3, float, int>(...)",
        _ATEN + "im2col_kernel<float>(long, float const*, long, long, ...)",
        "_causal_conv1d_fwd_kernel",
        "triton_tem_fused_convolution_relu_5",
    ),
    "communication": (
        "ncclDevKernel_AllReduce_Sum_f16_RING_LL(ncclDevComm*, unsigned long, ncclWork*)",
        "ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclWorkElem)",
        "ncclDevKernel_Generic(ncclDevKernelArgsStorage<4096ul>)",
        "ncclSymDevKernel_AllReduce_RSxLD_AGxST_sum_bf16(ncclSymDevArgs)",
        "void rccl_copy_kernel<4>(...)",
        "void (anonymous namespace)::multimem_all_reduce_kernel<c10::BFloat16, 16>(c10::BFloat16*, ...)",
        "void (anonymous namespace)::one_shot_all_reduce_kernel<c10::BFloat16, 8, 8>(...)",
        "void (anonymous namespace)::barrier_kernel(unsigned int**, unsigned long, unsigned long, unsigned l",
        "_combine_all_to_all",
        "void dpsk::ep::internode_ll::dispatch<true, 3, 10, 7168>(...)",
        "void deep_ep::intranode::combine<__nv_bfloat16, 8, 768>(...)",
        "nvshmemi_transfer_rma_p<...>",
        "void vllm::cross_device_reduce_1stage<__nv_bfloat16, 8>(...)",
        "void tensorrt_llm::kernels::oneShotAllReduceKernel<__nv_bfloat16, 8>(...)",
        "void flashinfer::trtllm_allreduce_fusion::allreduce_fusion_kernel_oneshot_lamport<...>(...)",
        "void userbuffers_fp16_sum_inplace_gpu_rr_rs_oop<8>(...)",
        "void EpDispatchIntraNodeKernel<__hip_bfloat16>(...)",
        "oneapi::ccl::v1::allreduce_large_kernel",
    ),
    "elementwise": (
        _VECTORIZED + "CUDAFunctor_add<float>, std::array<char*, 3ul> >(int, ...)",
        _VECTORIZED + "GeluCUDAKernelImpl(at::TensorIteratorBase&, at::native::GeluType)::{lambda()#2}, ...>",
        _VECTORIZED
        + "(anonymous namespace)::masked_fill_kernel(at::TensorIterator&, c10::Scalar const&)::{lambda...",
        "void (anonymous namespace)::elementwise_kernel_with_index<int, at::native::arange_cuda_out(...)>",
        _ANONYMOUS + "distribution_elementwise_grid_stride_kernel<float, 4, ...>",
        _ANONYMOUS + "fused_dropout_kernel_vec<float, float, unsigned int, 1, 4, bool>(...)",
        _FOREACH
        + "TensorListMetadata<1>, ...BinaryOpScalarFunctor<float, 1, 1, 0>, std::multiplies<float>, float>",
        "void vllm::rotary_embedding_kernel<c10::BFloat16, true>(long const*, c10::BFloat16*, ...)",
        "void vllm::act_and_mul_kernel<c10::BFloat16, vllm::silu_kernel<c10::BFloat16>, true>(...)",
        "void vllm::scaled_fp8_quant_kernel_strided<c10::BFloat16, c10::Float8_e4m3fn>(...)",
        "void transformer_engine::quantize_mxfp8_kernel_cast_only<...>",
        "void tensorrt_llm::kernels::quantize_with_block_size<(tensorrt_llm::BlockScaleQuantizationType)2, .",
        "void LSTM_elementWise_fp<float, float, float>(...)",
        "void cunn_ClassNLLCriterion_updateGradInput_kernel<float>(float*, float*, long*, ...)",
        "at::native::xpu::VectorizedElementwiseKernel<8, at::native::xpu::AddFunctor<float> >",
        "MIOpenNeuronFwd",
        "void op_generic_tensor_kernel<2, float, float, float, 256, (cudnnGenericOp_t)1>(...)",
        "void at::native::upsample_bilinear2d_out_frame<float, float>(...)",
    ),
    "normalization": (
        "void cudnn::bn_fw_tr_1C11_kernel_NCHW<float, float, 512, true, 1>(cudnnTensorStruct, ...)",
        "void cudnn::bn_bw_1C11_kernel_new<float, float, float2, 512, true, 1>(float, ...)",
        _ATEN + "batch_norm_backward_kernel<c10::BFloat16, c10::BFloat16, float, int>(...)",
        _ANONYMOUS + "vectorized_layer_norm_kernel<float, float>(int, float, ...)",
        _ANONYMOUS + "GammaBetaBackwardCUDAKernel<float, float>(long, long, ...)",
        _ANONYMOUS
        + "unrolled_elementwise_kernel_for_multi_outputs<3, batch_norm_update_stats_and_invert(...)>",
        _ATEN + "RowwiseMomentsCUDAKernel<float>(long, float, ...)",
        "void cuApplyLayerNorm<c10::Half, float, c10::Half>(c10::Half*, float*, ...)",
        "void cuComputePartGradGammaBeta<float, float, float>(...)",
        "void transformer_engine::normalization::rmsnorm_fwd_tuned_kernel<...>",
        "void transformer_engine::normalization::ln_bwd_tuned_kernel<...>",
        "std::enable_if<...>::type vllm::fused_add_rms_norm_kernel<c10::BFloat16, 8>(...)",
        "MIOpenBatchNormFwdTrainSpatial",
    ),
    "softmax": (
        "void (anonymous namespace)::softmax_warp_forward<float, float, float, 10, true, false>(...)",
        _ANONYMOUS + "cunn_SoftMaxForward<4, float, float, float, SoftMaxForwardEpilogue>(...)",
        "void (anonymous namespace)::scaled_upper_triang_masked_softmax_warp_forward<c10::Half, ...>",
    ),
    "reduction": (
        _ATEN + "reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::MeanOps<float, float>, ...> >",
        _ANONYMOUS + "max_pool_backward_nchw<float, float>(int, float const*, long const*, ...)",
        _ANONYMOUS + "adaptive_average_pool<float>(...)",
        _ATEN + "sbtopk::gatherTopK<float, unsigned int, 2, false>(...)",
        _ATEN + "nll_loss_forward_reduce_cuda_kernel_2d<float, float, long>(...)",
        "void cunn_ClassNLLCriterion_updateOutput_kernel<float, float>(...)",
        "void at_cuda_detail::cub::detail::radix_sort::DeviceRadixSortOnesweepKernel<...>",
        "void cub::DeviceScanKernel<cub::AgentScanPolicy<128, 15, int, ...> >",
        "void rocprim::detail::radix_sort_onesweep_global_offsets<...>",
        _FOREACH
        + "TensorListMetadata<1>, ...LpNormFunctor<float, (at::native::NormType)1, float, 1, 1, 0> >",
        "void multi_tensor_apply_kernel<TensorListMetadata<1>, L2NormFunctor<float>, float*, float*, bool, i",
        "void moe::dev::routing::routingIndicesHistogramKernel<...>",
        "_ZN2ck29gridwise_generic_reduce_1E",
    ),
    "optimizer": (
        "void multi_tensor_apply_kernel<TensorListMetadata<4>, AdamFunctor<float>, float, float, ...>",
        _FOREACH
        + "FusedOptimizerTensorListMetadata<4>, ...FusedAdamMathFunctor<float, 4, ADAM_MODE::ADAMW> >",
        _FOREACH
        + "TensorListMetadata<3>, at::native::(anonymous namespace)::FusedSgdMathFunctor<float, 3> >",
        "void multi_tensor_apply_kernel<TensorListMetadata<3>, LAMBStage1Functor<float>, ...>",
        "void kOptimizerStatic8bit2StateBlockwise<float, 0, 256, 1>(...)",
    ),
    "embedding": (
        "void split_embedding_backward_codegen_rowwise_adagrad_unweighted_kernel_cta_per_row_1<float, ...>",
        "void split_embedding_codegen_forward_unweighted_kernel<float, float, float, long, 2ul>(...)",
        "void bounds_check_indices_kernel<long>(...)",
        _ANONYMOUS + "embedding_backward_feature_kernel<float, float, long>(...)",
        _ANONYMOUS + "EmbeddingBag_updateOutputKernel_sum_mean<float, long>(...)",
        _ANONYMOUS + "sum_and_scatter<float, long>(...)",
    ),
    "memory": (
        _ANONYMOUS + "CatArrayBatchedCopy_aligned16_contig<...OpaqueType<4u>, unsigned int, 1, 128, 1>(...)",
        _ATEN
        + "elementwise_kernel<128, 4, at::native::gpu_kernel_impl_nocast<direct_copy_kernel_cuda(...)::...",
        _VECTORIZED + "FillFunctor<float>, std::array<char*, 1ul> >(int, ...)",
        _VECTORIZED + "bfloat16_copy_kernel_cuda(at::TensorIteratorBase&)::{lambda(float)#1}, ...>",
        _ATEN
        + "index_elementwise_kernel<128, 4, at::native::gpu_index_kernel<at::native::index_put_kernel_impl..",
        _ANONYMOUS + "indexSelectLargeIndex<c10::BFloat16, long, unsigned int, 2, 2, -2, true>(...)",
        _ATEN + "_scatter_gather_elementwise_kernel<128, 8, ...>",
        _ATEN + "vectorized_gather_kernel<16, long>(char*, char*, long*, ...)",
        "void fbgemm_gpu::permute_2D_data_kernel<false, int, int, decltype(nullptr)>(...)",
        "void vllm::reshape_and_cache_flash_kernel<__nv_bfloat16, unsigned char, ...>",
        "__amd_rocclr_fillBufferAligned",
    ),
    "triton-fused": (
        "triton_poi_fused__to_copy_permute_t_4",
        "triton_red_fused__log_softmax_div_mul_prepare_softmax_online_sigmoid_view_40",
        "triton_per_fused__flash_attn_backward__unsafe_view_mul_sigmoid_sigmoid_backward_sum_view_10",
        "triton_poi_fused_all_reduce_wait_tensor_0",
        "triton_for_fused_0",
        "triton__0d1d2d3de",
        "triton_",
    ),
    "other": (
        "my_kernel",
        "",
        "hip_unknown_kernel",
        "_chunk_scan_fwd_kernel",
        "fused_sigmoid_gating_delta_rule_update_kernel",
        "void regular_fft<256u, EPT<16u>, 16u, 16u, ...>",
    ),
}


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for kind, names in REAL_NAMES.items() for name in names]
)
def test_a_real_name_has_its_kind(name: str, kind: str) -> None:
    assert kernel_kind(name) == kind


def test_every_kind_is_shown_by_a_real_name() -> None:
    assert set(REAL_NAMES) == set(KERNEL_KINDS)


def test_every_rule_names_its_source() -> None:
    assert all(rule.source for rule in KERNEL_RULES)


def test_every_rule_is_written_for_lower_cased_names() -> None:
    for rule in KERNEL_RULES:
        literal = rule.pattern.pattern.replace(r"\W", "").replace(r"\D", "").replace(r"\S", "")
        assert literal == literal.lower(), rule


@pytest.mark.parametrize("kind", sorted(ZERO_FLOP_KINDS))
def test_the_zero_of_a_kind_without_flop_is_certain(kind: str) -> None:
    assert all(has_no_flop(name) for name in REAL_NAMES[kind])


@pytest.mark.parametrize("kind", ["matmul", "attention", "convolution", "communication", "other"])
def test_no_other_kind_has_a_certain_zero(kind: str) -> None:
    assert not any(has_no_flop(name) for name in REAL_NAMES[kind])


@pytest.mark.parametrize(
    ("name", "certain"),
    [
        ("triton_poi_fused_addmm_gelu_0", True),  # the bias and activation of a product computed elsewhere
        ("triton_per_fused_add_addmm_native_layer_norm_3", True),
        ("triton_poi_fused__scaled_mm__to_copy_clone_div_lift_fresh_permute_0", True),
        ("triton_red_fused__scaled_mm_abs_max_1", True),  # fp8 scales; _scaled_mm is never written as a sum
        ("triton_red_fused__scaled_dot_product_flash_attention_backward_mul_sum_2", True),
        ("triton_red_fused_mm_0", False),  # a product with a vector may be written as multiply and sum
        ("triton_per_fused__fused_rms_norm__unsafe_view_add_mm_mul_select_sub_view_39", False),
        ("triton_red_fused_bmm_1", False),
        ("triton_tem_fused_0", False),
        ("triton_unk_fused_add_0", False),
        ("triton__0d1d2d3de", False),  # torch 2.0 calls its templates by the same name
    ],
)
def test_a_fused_triton_kernel_tells_whether_its_zero_is_certain(name: str, certain: bool) -> None:
    assert kernel_kind(name) == "triton-fused"
    assert has_no_flop(name) is certain


@given(st.text(max_size=300))
def test_any_name_has_a_listed_kind(name: str) -> None:
    assert kernel_kind(name) in KERNEL_KINDS
    assert has_no_flop(name) in (True, False)


@given(st.lists(st.sampled_from([name for names in REAL_NAMES.values() for name in names]), max_size=4))
def test_names_run_together_have_a_listed_kind(names: list[str]) -> None:
    assert kernel_kind("_".join(names)) in KERNEL_KINDS


def test_a_name_of_a_megabyte_is_classified_by_its_beginning() -> None:
    assert kernel_kind("ampere_sgemm_128x64_nn" + "<float>" * 150_000) == "matmul"


def test_little_compute_time_of_real_traces_is_of_no_known_kind() -> None:
    too_large = {}
    for path in _trace_paths():
        time = _time_by_kind(path)
        compute = sum(time.values()) - time["communication"]
        if compute and time["other"] / compute > LARGEST_OTHER_SHARE:
            too_large[path.name] = time["other"] / compute
    assert too_large == {}


def test_convolutions_attention_and_communication_are_found_where_the_traces_have_them() -> None:
    found = {path.stem.removesuffix(".json"): _time_by_kind(path) for path in _trace_paths("t*", "k*")}
    resnet, bert = found["kineto_resnet50_workers0_v100"], found["tracelens_mi300x_bert"]
    checkpoint = found["tracelens_mi300x_resnet_checkpoint"]
    assert resnet["convolution"] > resnet["matmul"] > 0  # cuDNN's Winograd runs volta_sgemm
    assert bert["attention"] > 0 == bert["convolution"]
    assert checkpoint["communication"] > checkpoint["convolution"] > checkpoint["normalization"] > 0


class _Event(msgspec.Struct):
    name: Any = ""
    cat: Any = None
    dur: float | str | None = 0.0


class _Trace(msgspec.Struct, rename={"events": "traceEvents"}):
    events: list[_Event]


def _time_by_kind(path: Path) -> dict[str, float]:
    """Device time per kind, in the trace's microseconds."""
    time: dict[str, float] = defaultdict(float)
    for event in _events(path):
        if event.cat in ("kernel", "Kernel"):
            time[kernel_kind(event.name)] += float(event.dur or 0)
    return time


def _events(path: Path) -> list[_Event]:
    with gzip.open(path) as file:
        data = file.read()
    if data.lstrip()[:1] == b"[":
        return msgspec.json.decode(data, type=list[_Event])
    return msgspec.json.decode(data, type=_Trace).events


def _trace_paths(*patterns: str) -> Iterator[Path]:
    folder = require_shared() / "traces"
    for pattern in patterns or ("**/*",):
        yield from sorted(folder.glob(f"{pattern}.json.gz"))
