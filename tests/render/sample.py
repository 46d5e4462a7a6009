"""Reports to render: one of each kind that a reader can meet, with numbers like those of real traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mfu_profiler.analysis.report import (
    SCHEMA_VERSION,
    Check,
    DeviceInfo,
    Finding,
    FlopInfo,
    HostIdle,
    KernelRow,
    LadderStep,
    NumericOption,
    OpRow,
    Partition,
    Report,
    Scale,
    StepsInfo,
    TraceInfo,
    UncountedKernel,
    WaterfallRow,
    WindowInfo,
)

__all__ = ["SAMPLES", "cpu", "hostile", "low_coverage", "ranks", "resnet", "unknown_device", "with_gain"]

HOSTILE_NAME = (
    "<script>alert(1)</script>|`x`**b**[link](https://evil.example)\x1b[31mred\x9b2J\x07\r\n# heading\n"
    "\u202egnp.exe\u2066\u200b\ud800@everyone [bold red]markup[/bold red] &lt; \\"
)
LONG_NAME = (
    "void at::native::elementwise_kernel<" + "std::tuple<" * 700 + "float" + ">" * 700 + ">(int)" + "x" * 2000
)


def resnet() -> Report:
    """ResNet-50 in fp32 on a V100, fed by the main process: an MFU, idle time, two findings."""
    step_s = 0.1762
    return Report(
        schema_version=SCHEMA_VERSION,
        mfu=0.281,
        hfu=0.281,
        mfu_unknown_because=None,
        mfu_unknown_hints=(),
        step_time_s=step_s,
        step_times_s=(0.231, 0.174, 0.171, 0.183, 0.177, 0.176),
        steps=StepsInfo(
            count=5,
            source="device windows of ProfilerStep",
            spread_fraction=0.026,
            fastest_s=0.171,
            slowest_s=0.183,
            pause_fraction=0.0,
        ),
        trace=TraceInfo(
            path="resnet50.pt.trace.json.gz",
            rank=None,
            world_size=None,
            process="25738",
            events=104_512,
            truncated=False,
            truncated_because=None,
            torch_version="1.9.0",
        ),
        device=DeviceInfo(
            name="Tesla V100-DGXS-32GB",
            index=0,
            backend="cuda",
            precision="fp32",
            peak_flop_per_s=15.7e12,
            peak_source="datasheet",
            peak_detail=None,
            memory_byte_per_s=900e9,
            sm_count=80,
        ),
        flop=FlopInfo(
            model_per_step=7.776e11,
            hardware_per_step=7.776e11,
            recomputed_per_step=0.0,
            optimizer_per_step=0.0,
            causal_model_per_step=None,
            source="shapes in the trace",
            coverage_fraction=0.991,
            uncounted=(
                UncountedKernel("cunn_SoftMaxForward", 0.001),
                UncountedKernel("MaxPoolBackward", 0.004),
            ),
        ),
        partition=Partition(0.561, 0.0, 0.012, 0.326, 0.003, 0.093, 0.005, 0.0),
        partition_unknown_because=None,
        copy_by_direction={"host to device": 0.0118, "device to device": 0.0002},
        host_idle=(
            HostIdle("forward", "dispatch", 0.031),
            HostIdle("backward", "dispatch", 0.052),
            HostIdle("outside the model", "no ops", 0.01),
        ),
        windows=_windows(),
        waterfall=waterfall(
            step_s,
            {
                "matmul_inefficiency": (0.204, "dgrad_engine, wgrad_alg0_engine"),
                "other_kernels": (0.076, "batch_norm, relu"),
                "communication": (0.0, ""),
                "copy": (0.012, "host to device, pageable"),
                "idle_data_loading": (0.326, ""),
                "idle_synchronization": (0.003, ""),
                "idle_host": (0.093, ""),
                "idle_launch": (0.005, ""),
                "idle_unexplained": (0.0, ""),
            },
        ),
        findings=_findings(),
        ladder=(LadderStep("data_loading_main_process", 0.118, 0.42),),
        options=(NumericOption("fp16", 0.119, "torch.autocast"),),
        kernels=_kernels(),
        ops=(OpRow("aten::convolution", "[32, 3, 224, 224]", 53.0, 0.041, 0.23, 2.6e11, 6.3e12, 0.4, None),),
        checks=(
            Check("parts sum to the window", True, "to the nanosecond"),
            Check("no dropped launches", True, "every kernel has its launch"),
        ),
        scale=Scale("published fp32 ResNet-50 training reaches 35 to 50 %", "NVIDIA DeepLearningExamples"),
        conventions=("torchtitan and nanoGPT would print no MFU: the model is not a transformer",),
        notes=("TF32 does not exist on this device; fp32 ran in fp32",),
    )


def waterfall(step_s: float, parts: Mapping[str, tuple[float, str]]) -> tuple[WaterfallRow, ...]:
    """The rows from the peak to the MFU: cause -> (fraction, detail)."""
    rows = [WaterfallRow(cause, part, part * step_s, detail) for cause, (part, detail) in parts.items()]
    mfu = 1 - sum(part for part, _ in parts.values())
    return (WaterfallRow("peak", 1.0, None, ""), *rows, WaterfallRow("mfu", mfu, mfu * step_s, ""))


def _windows() -> tuple[WindowInfo, ...]:
    def window(label: str, start_ms: int, length_ms: int, role: str) -> WindowInfo:
        ns = 1_000_000
        return WindowInfo(
            label, start_ms * ns, length_ms * ns, role, length_ms * ns, 0, 0, 0, 0, 0, 0, 0, None
        )

    return (
        window("ProfilerStep#4", 0, 231, "startup"),
        *(window(f"ProfilerStep#{5 + k}", 231 + 176 * k, 176, "averaged") for k in range(5)),
    )


def _findings() -> tuple[Finding, ...]:
    return (
        Finding(
            code="data_loading_main_process",
            title="The device waits for the data loader",
            share_fraction=0.326,
            evidence=("1.0 next() a step, 59 ms, in the main process",),
            advice=("DataLoader(..., num_workers=4, pin_memory=True)",),
            recovered_s=0.058,
            step_time_after_s=0.118,
            mfu_after=0.42,
            confidence="high",
        ),
        Finding(
            code="host_bound",
            title="Kernels finish faster than Python launches them",
            share_fraction=0.093,
            evidence=("1,462 launches a step, 13 µs apart, while nothing is queued on the device",),
            advice=("torch.compile(model)", "or larger batches: the same launches then carry more work"),
        ),
    )


def kernel(name: str, kind: str, count: float, time_s: float, **more: object) -> KernelRow:
    """A kernel row; what is not said is unknown."""
    known: dict[str, object] = dict.fromkeys(
        (
            "flop",
            "achieved_flop_per_s",
            "precision",
            "peak_fraction",
            "ideal_time_s",
            "byte",
            "bound",
            "op",
            "location",
        )
    )
    known.update(more)
    return KernelRow(name, kind, count, time_s, time_s / 0.1762, **known)  # type: ignore[arg-type]


def _kernels() -> tuple[KernelRow, ...]:
    arguments = "<float, 512, 6, 5, 3, 3, 3, false>(int, int, int, float const*, int, float const*)"
    add = "at::native::CUDAFunctor_add<float>, at::detail::Array<char*, 3>"
    return (
        kernel(
            f"void cudnn::detail::dgrad_engine{arguments}",
            "convolution",
            32.0,
            0.0182,
            flop=1.74e11,
            achieved_flop_per_s=9.58e12,
            peak_fraction=0.61,
            op="aten::cudnn_convolution_backward_input",
            location="torchvision/models/resnet.py:124",
        ),
        kernel(
            "volta_scudnn_128x64_stridedB_splitK_xregs_large_nn_v1",
            "convolution",
            21.0,
            0.0114,
            flop=1.2e11,
            achieved_flop_per_s=10.5e12,
            peak_fraction=0.67,
        ),
        kernel(
            "void cudnn::bn_bw_1C11_kernel_new<float, float, float2, 512, true, 1>(float)",
            "normalization",
            53.0,
            0.0061,
            flop=0.0,
        ),
        kernel(
            f"void at::native::vectorized_elementwise_kernel<4, {add} >(int)",
            "elementwise",
            176.0,
            0.00381,
            flop=0.0,
        ),
        kernel(
            f"void at::native::vectorized_elementwise_kernel<2, {add} >(int)",
            "elementwise",
            1.5,
            0.00031,
            flop=0.0,
        ),
        kernel("triton_poi_fused__to_copy_add_3", "elementwise", 1.0, 0.00021),
        kernel("Memcpy HtoD (Pageable -> Device)", "memcpy", 2.0, 0.0021, flop=0.0),
    )


def unknown_device() -> Report:
    """A device that no table knows: the time is split, the MFU is refused."""
    sample = resnet()
    return replace(
        sample,
        mfu=None,
        hfu=None,
        mfu_unknown_because='no peak FLOP/s is known for "NVIDIA H100 80GB HBM4"',
        mfu_unknown_hints=(
            "nearest known: NVIDIA H100 80GB HBM3, NVIDIA H100 NVL",
            "give it: report trace.json --peak-tflops 989.4",
        ),
        device=replace(
            sample.device,
            name="NVIDIA H100 80GB HBM4",
            peak_flop_per_s=None,
            peak_source=None,
            sm_count=None,
            memory_byte_per_s=None,
        ),
        waterfall=(),
        kernels=tuple(replace(row, peak_fraction=None, ideal_time_s=None) for row in sample.kernels),
        scale=None,
    )


def cpu() -> Report:
    """A CPU trace of a GPU job: nothing of the device is in it."""
    sample = unknown_device()
    reason = "device activities are missing: the trace has CUDA calls but no kernels (activities=[CPU]?)"
    return replace(
        sample,
        mfu_unknown_because=reason,
        partition=None,
        partition_unknown_because=reason,
        device=DeviceInfo(None, None, "cpu", None, None, None, None, None, None),
        flop=FlopInfo(None, None, None, None, None, None, None, ()),
        steps=StepsInfo(1, "the whole span", None, None, None, 0.0),
        windows=(),
        copy_by_direction={},
        host_idle=(),
        findings=(),
        kernels=(),
        conventions=(),
        notes=(),
    )


def low_coverage() -> Report:
    """A compiled model: FLOP of the Triton kernels are unknown; the trace was cut, a check failed."""
    sample = resnet()
    return replace(
        sample,
        mfu=0.312,
        hfu=0.371,
        flop=replace(
            sample.flop,
            coverage_fraction=0.83,
            hardware_per_step=9.3e11,
            recomputed_per_step=1.4e11,
            optimizer_per_step=0.1e11,
            causal_model_per_step=6.9e11,
        ),
        trace=replace(
            sample.trace,
            truncated=True,
            truncated_because="the JSON ends inside event 104,513",
            world_size=8,
            rank=3,
        ),
        windows=(*sample.windows, replace(sample.windows[0], label="ProfilerStep#10", role="pause")),
        steps=replace(sample.steps, pause_fraction=0.12),
        checks=(
            *sample.checks,
            Check("kernels do not overlap", False, "31 overlaps on stream 7, 13 µs at most"),
        ),
        findings=(),
    )


def with_gain() -> Report:
    """FP8 beside bf16: kernels run faster than the reference peak allows, which is a gain."""
    sample = resnet()
    parts = {
        "precision": (-0.08, "fp8 matmuls"),
        "matmul_inefficiency": (0.5, ""),
        "other_kernels": (0.299, ""),
    }
    return replace(sample, waterfall=waterfall(0.1762, parts))


def ranks() -> tuple[Report, ...]:
    """Two ranks of one job."""
    sample = resnet()

    def rank(number: int, mfu: float) -> Report:
        trace = replace(sample.trace, rank=number, world_size=2, path=f"job/rank{number}.json.gz")
        return replace(sample, trace=trace, mfu=mfu, device=replace(sample.device, index=number))

    return rank(0, 0.281), replace(rank(1, 0.284), flop=replace(sample.flop, coverage_fraction=0.8))


def hostile() -> Report:
    """Every string of the report tries to break out of the page."""
    sample = low_coverage()
    evil = HOSTILE_NAME
    finding = Finding(evil, evil, 0.2, (evil, LONG_NAME), (evil,))
    return replace(
        sample,
        trace=replace(sample.trace, path=evil, truncated_because=evil, torch_version=evil),
        device=replace(sample.device, name=evil, backend=evil, precision=evil, peak_source=evil),
        flop=replace(
            sample.flop, source=evil, uncounted=(UncountedKernel(evil, 0.1), UncountedKernel(LONG_NAME, 0.1))
        ),
        steps=replace(sample.steps, source=evil),
        copy_by_direction={evil: 0.01},
        host_idle=(HostIdle(evil, evil, 0.05),),
        windows=tuple(replace(window, label=evil, role="startup") for window in sample.windows),
        waterfall=waterfall(0.1762, {evil: (0.3, evil), LONG_NAME: (0.388, LONG_NAME)}),
        findings=(finding, finding),
        kernels=tuple(
            kernel(name, evil, 1e9, 1.0, flop=1e30, achieved_flop_per_s=1e30, op=evil, location=evil)
            for name in (
                evil,
                LONG_NAME,
                "",
                "\u202e" * 50,
                "日本語の名前" * 30,
                "_Z" + "9" * 5000,
                "<" * 9000,
            )
        ),
        ops=(OpRow(evil, evil, 1.0, 1.0, 1.0, None, None, None, evil),),
        checks=(Check(evil, False, LONG_NAME), Check(evil, True, evil)),
        scale=Scale(evil, evil),
        conventions=(evil,),
        notes=(evil, LONG_NAME),
    )


SAMPLES: Mapping[str, tuple[Report, ...]] = {
    "resnet": (resnet(),),
    "unknown device": (unknown_device(),),
    "cpu": (cpu(),),
    "low coverage": (low_coverage(),),
    "gain": (with_gain(),),
    "ranks": ranks(),
    "hostile": (hostile(),),
    "hostile, refused": (replace(hostile(), mfu=None, mfu_unknown_because=HOSTILE_NAME),),
    "hostile ranks": (hostile(), hostile()),
    "none": (),
}
"""Name -> the reports of one run."""
