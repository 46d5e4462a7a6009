"""The table that says what kind of work a device kernel does, by its name.

One row is one family of kernels: the kind, a regular expression searched in the **lower-cased** name, and
where the name comes from. The first row that matches decides, so the order carries meaning, and each block
says why it stands where it stands. A source that begins with ``trace`` is a real trace, in which the names
were checked against the host ops that launched them.

Patterns are plain alternatives whose repetitions are bounded, because names come from untrusted files, and
in lower case, because case-insensitive alternatives take ``re`` twice as long.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

__all__ = ["KERNEL_RULES", "KernelKind", "KernelRule"]

KernelKind = Literal[
    "matmul",
    "attention",
    "convolution",
    "communication",
    "elementwise",
    "normalization",
    "softmax",
    "reduction",
    "optimizer",
    "embedding",
    "memory",
    "triton-fused",
    "other",
]


class KernelRule(NamedTuple):
    """One family of kernel names."""

    kind: KernelKind
    pattern: re.Pattern[str]
    source: str
    """The file, project or trace that the names come from."""


def _rule(kind: KernelKind, pattern: str, source: str) -> KernelRule:
    return KernelRule(kind, re.compile(pattern), source)


# Inductor first: its names list every op that was fused ("triton_poi_fused_all_reduce_softmax_0"), so that
# each row below would misread them. "addmm" in a pointwise kernel is the bias of a product.
# Before torch 2.1 every kernel was called "triton_", to which Triton appends the specialized arguments.
_INDUCTOR = (
    _rule(
        "attention", r"(?:^|_)triton_tem_fused_\w*(?:attention|scaled_dot_product)", "_inductor/kernel/flex"
    ),
    _rule("convolution", r"(?:^|_)triton_tem_fused_\w*convolution", "torch/_inductor/kernel/conv.py"),
    _rule(
        "matmul",
        r"(?:^|_)triton_tem_fused_\w*(?<![a-z])(?:addmm|baddbmm|bmm|mm|matmul|linear)(?![a-z])",
        "torch/_inductor/kernel/mm.py, bmm.py, mm_grouped.py",
    ),
    _rule(
        "triton-fused",
        r"(?:^|_)triton_(?:poi|red|per|for|spl|tem|unk)_",
        "torch/_inductor/wrapper_benchmark.py, _kernel_category_choices; codegen/triton.py, define_kernel",
    ),
    _rule("triton-fused", r"^triton_(?:_?\d\w*)?$", "trace megatron_tp8_a100: triton__0d1d2d3de"),
)

# One kernel that computes and communicates has FLOP: a matmul. A collective fused with a norm or a residual
# stays communication, because waiting for the other ranks dominates it.
_COMMUNICATION = (
    _rule(
        "matmul",
        r"(?<!fb)(?:gemm|matmul)\w{0,80}(?:all_?reduce|reduce_?scatter)|all_?gather\w{0,80}(?:gemm|matmul)",
        "bytedance/flux; NVIDIA/TensorRT-LLM gemmAllReduce",
    ),
    _rule(
        "communication",
        r"nccl|rccl|msccl",
        "NVIDIA/nccl src/device/generate.py; ROCm/rccl; microsoft/mscclpp",
    ),
    _rule("communication", r"nvshmem|rocshmem|ishmem", "NVSHMEM, rocSHMEM and Intel SHMEM device code"),
    _rule(
        "communication",
        r"deep_ep::|dpsk::ep::|hybrid_ep::|\bmori::|moea2a|\bep(?:dispatch|combine)",
        "deepseek-ai/DeepEP csrc/kernels; ROCm/mori; TensorRT-LLM moeAlltoAllKernels.cu",
    ),
    _rule(
        "communication",
        r"all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|multimem_|(?:one|two)_?shot_",
        "torch/csrc/distributed/c10d/symm_mem; trace tracelens_b200_tp: multimem_all_reduce_kernel",
    ),
    _rule(
        "communication",
        r"cross_device_reduce|quick_?reduce|userbuffers|lamport|\b(?:barrier|put_signal|wait_signal)_kernel",
        "vLLM csrc/custom_all_reduce.cuh; TransformerEngine userbuffers.cu; TensorRT-LLM; c10d symm_mem",
    ),
    _rule("communication", r"\bccl(?:::|_)", "uxlfoundation/oneCCL"),
)

# An embedding backward that updates its table in place (rowwise Adagrad) is the embedding's time; rotary
# "embedding" is arithmetic on activations. "fbgemm_gpu" must not reach the matmul rows.
_EMBEDDING = (
    _rule(
        "elementwise",
        r"rotary|(?<![a-z])rope|rope(?![a-z])|transform_bias_rescale_qkv",
        "vLLM csrc/pos_encoding_kernels.cu; apex; ATen/native/transformers/cuda/attention.cu",
    ),
    _rule(
        "embedding",
        r"embedding|bounds_check_indices|linearize_index|l[xf]u_cache|uvm_cache"
        r"|compute_grad_weight|krn_partial|sum_and_scatter",
        "FBGEMM fbgemm_gpu/codegen; ATen/native/cuda/Embedding*.cu; trace hta_control_a100_nccl",
    ),
    _rule(
        "memory",
        r"fbgemm_gpu::|recat_copy|permute_pooled_embs|to_dense_representation",
        "FBGEMM fbgemm_gpu/src/sparse_ops, moves sparse features; trace hta_control_a100_nccl",
    ),
)

# Adam, SGD and the like name themselves. The other functors of multi_tensor_apply (add, mul, scale, lerp) do
# not prove an optimizer: unscaling, clipping, averaging and DDP buckets run the same foreach kernels.
_OPTIMIZER = (
    _rule(
        "optimizer",
        r"(?:fused|multi_tensor_|(?<![a-z]))(?:adam|adagrad|adadelta|sgd|lamb|lion|novograd|rmsprop|lars)"
        r"\w{0,80}(?:functor|kernel)|koptimizer|kpreconditionoptimizer",
        "apex, TransformerEngine multi_tensor_*.cu; ATen fused_adam_utils.cuh; bitsandbytes csrc/kernels.cu",
    ),
    _rule(
        "reduction",
        r"(?:l2norm|lpnorm|maxnorm|lpmax)\w{0,80}functor|lpnorm_cleanup|lpmax_cleanup|l2norm",
        "ATen/native/cuda/ForeachReduceOp.cu; apex multi_tensor_l2norm_kernel.cu: gradient norms",
    ),
    _rule("memory", r"multi_tensor_apply_kernel.{0,200}?\bcopy", "ATen/native/cuda/ForeachBinaryOpList.cu"),
    _rule("elementwise", r"multi_tensor_apply", "ATen/native/cuda/ForeachFunctors.cuh"),
)

# Attention before convolution (cuDNN says "sdpa ... flash_fprop"), convolution before matmul (CK's
# convolutions carry the type tensor_layout::gemm). Helpers of a fused attention count with it.
_ATTENTION = (
    _rule("softmax", r"attn_softmax", "DeepSpeed csrc/transformer: a softmax alone"),
    _rule("memory", r"reshape_and_cache|_page_indices_kernel", "vLLM csrc/cache_kernels.cu; FlashInfer"),
    _rule(
        "attention",
        r"flash_?(?:fwd|bwd|attn|att(?:ention)?|mla|decode)|\bflash::|fmha|sdpa|attention|attn",
        "flash-attention csrc and hopper; PyTorch mem_eff_attention; CK ck_tile/ops/fmha; cuDNN; AOTriton",
    ),
    _rule(
        "attention",
        r"compute_dot_do_o|convert_dq_to_16bits|\bbwd_kernel_(?:dk|dq|fuse)|\bbwd_preprocess"
        r"|batch(?:prefill|decode)with",
        "cuDNN and AOTriton (tritonsrc/flash.py) backward helpers; FlashInfer attention/prefill.cuh",
    ),
)

# Layout changes, offsets, zeroing and split-K sums that only convolutions launch are convolution time: in
# seven real traces each of them was launched by an ATen, cuDNN or MIOpen convolution, and by nothing else.
_CONVOLUTION = (
    _rule(
        "convolution",
        r"conv(?!er)|winograd|fprop|dgrad|wgrad|implicit_?gemm|igemm_(?:fwd|bwd|wrw)|xdlops_bwd_weight",
        "cuDNN; CUTLASS conv2d; MIOpen; CK; ATen; traces kineto_*, hta_*, tracelens_mi300x_resnet_checkpoint",
    ),
    _rule(
        "convolution",
        r"_[shdi]\d*cudnn_|gcgemm|fft[12]d_[rc]2[rc]|flip_filter|pointwise_mult_and_sum",
        "cuDNN 7 and 8, tensor core and FFT engines",
    ),
    _rule(
        "convolution",
        r"nchwtonhwc|nhwctonchw|compute\w{0,20}offsetskernel|scalepackedtensor"
        r"|cutlass_cudnn\w{0,20}::.{0,80}reducesplitk",
        "cuDNN helpers; traces kineto_resnet50_*, hta_host_bound_a100, tracelens_h100_vit",
    ),
    _rule(
        "convolution",
        r"batched_transpose_\d|transpose_\w{0,20}(?:cnhw|nchw)|subtensoropwith|im2(?:d2)?col|col2im|vol2col",
        "ROCm/MIOpen src/kernels; ATen/native/cuda/im2col.cuh; trace tracelens_mi300x_resnet_checkpoint",
    ),
)

# "gemv", "dot", epilogues and split-K sums are parts of a product's time.
_MATMUL = (
    _rule(
        "elementwise", r"(?:lstm|gru|rnn)_?(?:elementwise|cell)|elemwisernn", "cuDNN; ATen/native/cuda/RNN.cu"
    ),
    _rule("matmul", r"rnn_blockpersist|persistrnn", "cuDNN persistent RNN: the recurrent product itself"),
    _rule(
        "matmul",
        r"(?<!fb)gemm|gemv|nvjet|cublas|splitk_?reduce|reducesplitk|\bdot_kernel<|\breduce_1block_kernel<",
        "cuBLAS, cuBLASLt, CUTLASS, DeepGEMM, oneDNN; traces hta_*, megatron_tp8_a100, modded_nanogpt_8xh100",
    ),
    _rule(
        "matmul",
        r"cijk_|rocblas_|(?<![a-z])(?:trsm|syrk|trmm|symm)_",
        "ROCm/Tensile; rocBLAS; cuBLAS level 3",
    ),
    _rule(
        "matmul",
        r"matmul|\bbmm_|(?<![a-z])mm_kernel|fused_moe_kernel|fmoe_|\bmarlin<",
        "Triton tutorial 03; trtllm-gen; vLLM fused_moe.py, marlin; AITER; trace tracelens_b200_tp",
    ),
    _rule("matmul", r"^(?:xxt|xtx|ba_plus_caa)_kernel", "products of Muon; trace modded_nanogpt_8xh100"),
)

# After the products, so that a product with a fused norm keeps its FLOP. A tensor's length ("vector_norm")
# is a reduction, so only layers are named here.
_NORMALIZATION = (
    _rule(
        "normalization",
        r"(?:batch|layer|rms|group|instance|weight|qk)_?norm|\bbn_(?:fw|bw)|bnorm|(?<![a-z])ln_(?:fwd|bwd)",
        "ATen/native/cuda/{Normalization.cuh,layer_norm_kernel.cu}; cuDNN; MIOpen; TransformerEngine; vLLM",
    ),
    _rule(
        "normalization",
        r"gammabetabackward|rowwisemoments|cucompute(?:gradinput|partgrad|gradgamma)"
        r"|compute\w{0,30}fusedparams|computeinternalgradients",
        "ATen/native/cuda/layer_norm_kernel.cu, group_norm_kernel.cu; apex layer_norm_cuda_kernel.cu",
    ),
    _rule("softmax", r"soft_?max|log_?sum_?exp", "ATen/native/cuda/SoftMax.cu; apex megatron; MIOpen"),
)

# Quantizing rescales and rounds each value: pointwise, also where it transposes or takes a block's maximum.
# Filling is a memset, and a copy that converts is a copy: neither computes.
_MEMORY = (
    _rule(
        "elementwise", r"quanti|_quant_|(?<![a-z])cast_", "TransformerEngine; vLLM; trace tracelens_b200_tp"
    ),
    _rule(
        "reduction",
        r"top_?k|(?:radix|bitonic|merge|segmented)_?sort",
        "ATen/native/cuda/{Sort,TensorTopK}.cu",
    ),
    _rule(
        "memory",
        r"index_?(?:elementwise|copy|put|select|func|add|fill|kernel)|gather|scatter|catarray|masked_select",
        "ATen/native/cuda/{IndexKernel,Indexing,ScatterGatherKernel,Shape}.cu; trace ao_moe_2xb200",
    ),
    _rule(
        "memory",
        r"copy_kernel|copy_device_to_device|fillfunctor|(?<!masked_)fill_\w{0,20}kernel|(?:fill|copy)buffer"
        r"|chunk_cat|split_with_sizes|transpose|permut|roll_cuda|flip_kernel|(?:reflection|replication)_pad"
        r"|triu_tril|memcpy|memset",
        "ATen/native/cuda/{Copy,FillKernel,Shape}.cu; torch FSDP kernels; ROCm clr blit kernels",
    ),
)

# ATen's pointwise machinery before the reductions, because its functors may mention anything. A fused
# linear or MLP layer that names its activation is not pointwise.
_POINTWISE = (
    _rule(
        "elementwise",
        r"element_?wise_?kernel|distribution_\w{0,40}kernel|dropout|pointwise"
        r"|op_(?:generic_)?tensor_kernel|activation_(?:fw|bw)|op\d?d?tensor|miopen(?:neuron|activ)",
        "ATen/native/cuda/{CUDALoops.cuh,DistributionTemplates.h}; torch-xpu-ops; CK; cuDNN; MIOpen",
    ),
    _rule(
        "elementwise",
        r"act_and_mul|(?<!linear_)(?<!mlp_)(?:gelu|silu|swi_?glu|geglu|(?<![a-z])relu)|upsample|grid_sampler"
        r"|amp_update_scale|nll_loss_backward|nllcriterion_updategradinput",
        "vLLM csrc/activation_kernels.cu; ATen/native/cuda: each output from a constant number of inputs",
    ),
)

# Many elements in, fewer or reordered out: sums, scans, sorts, pooling, losses, routing of experts. The
# chunked scans of state-space models contain products, so a scan of theirs is none of these.
_REDUCTION = (
    _rule(
        "reduction",
        r"reduce|reduction|\bcub::|rocprim::|hipcub::|thrust::|histogram|cumsum|cumprod"
        r"|(?<!selective)(?<!chunk)_scan_",
        "ATen/native/cuda/{Reduce,ScanUtils}.cuh; CUB; rocPRIM; Thrust; MIOpen gridwise_generic_reduce",
    ),
    _rule(
        "reduction",
        r"pool|nll_?loss|nllcriterion|(?<!linear_)cross_?entropy|ctc_loss|searchsorted|unique|kthvalue|median|amax"
        r"|moe::dev::(?:routing|finalize)|moe_align_block_size|moe_sum",
        "ATen/native/cuda; Liger-Kernel; flash-attention; vLLM csrc/moe; trace tracelens_b200_tp",
    ),
)

KERNEL_RULES: tuple[KernelRule, ...] = (
    *_INDUCTOR,
    *_COMMUNICATION,
    *_EMBEDDING,
    *_OPTIMIZER,
    *_ATTENTION,
    *_CONVOLUTION,
    *_MATMUL,
    *_NORMALIZATION,
    *_MEMORY,
    *_POINTWISE,
    *_REDUCTION,
)
"""Families of kernels, in the order in which they are tried on a lower-cased name."""
