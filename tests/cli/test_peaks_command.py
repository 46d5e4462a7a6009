"""``peaks`` shows this machine and the catalog, fits a terminal, and needs torch only for this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mfu_profiler.capture.machine import local_devices
from mfu_profiler.capture.machine.device import LiveDevice
from mfu_profiler.capture.machine.local_devices import LocalDevice
from mfu_profiler.cli.main import main
from mfu_profiler.hardware import devices
from mfu_profiler.hardware.ceilings import Ceiling

ROOT = Path(__file__).parents[2]
Captured = pytest.CaptureFixture[str]

A_DAY_S = 1_782_864_000.0  # 2026-07-01
CPU = LocalDevice(
    LiveDevice("AMD EPYC", None, "cpu", threads=2),
    Ceiling({"fp32": 97e9, "bf16": 40e9}, "2 threads, matmul 1024", ("bf16 is emulated",), A_DAY_S),
)
NEW_CPU = LocalDevice(LiveDevice("AMD EPYC", None, "cpu", threads=1), None)
A100 = LocalDevice(
    LiveDevice(
        "NVIDIA A100-SXM4-80GB", 0, "cuda", sm_count=108, memory_byte=85_899_345_920,
        compute_capability=(8, 0), power_limit_w=300.0, default_power_limit_w=400.0, driver="535.104.05",
    ),
    Ceiling({"tf32": 117e12, "bf16": 249.6e12}, "matmul 8192", (), A_DAY_S),
)  # fmt: skip
STRANGER = LocalDevice(LiveDevice("NVIDIA H100 80GB HBM4\x1b[31m", 1, "cuda", nvml_because="no NVML"), None)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[bool]]:
    """Gives this machine other devices; returns what was asked: whether to measure."""

    def of(*found: LocalDevice) -> list[bool]:
        asked: list[bool] = []

        def look(*, measure: bool) -> tuple[LocalDevice, ...]:
            asked.append(measure)
            return found

        monkeypatch.setattr(local_devices, "local_devices", look)
        return asked

    return of


def text_of(capsys: Captured, *words: str) -> str:
    assert main(["peaks", *words]) == 0
    return capsys.readouterr().out


def json_of(capsys: Captured, *words: str) -> Any:
    return json.loads(text_of(capsys, *words, "--json", "-"))


def test_a_gpu_shows_the_measured_rate_beside_the_datasheet(
    machine: Callable[..., list[bool]], capsys: Captured
) -> None:
    machine(A100)
    shown = text_of(capsys).split("\n\n")[0].splitlines()
    about = "NVIDIA A100-SXM4-80GB, cuda 0, 108 multiprocessors, 85.9 GB, power limit 300 W (default 400 W),"
    assert " ".join(" ".join(shown[1:3]).split()) == f"{about} driver 535.104.05"
    assert [line.split() for line in shown[3:10]] == [
        ["TFLOP/s", "datasheet", "measured", "of", "datasheet"],
        ["fp64", "19.5", "-", "-"],
        ["fp32", "19.5", "-", "-"],
        ["tf32", "156", "117", "75.0", "%"],
        ["fp16", "312", "-", "-"],
        ["bf16", "312", "250", "80.0", "%"],
        ["int8", "624", "-", "-"],
    ]
    assert [line.strip() for line in shown[10:]] == [
        "datasheet: A100 SXM4 80GB, datasheet, confidence high",
        "memory: 2.04 TB/s",
        "measured: 2026-07-01, matmul 8192",
    ]


def test_a_cpu_shows_its_measured_peak_and_notes(
    machine: Callable[..., list[bool]], capsys: Captured
) -> None:
    machine(CPU)
    shown = [" ".join(line.split()) for line in text_of(capsys).split("\n\n")[0].splitlines()]
    assert shown[1:] == [
        "AMD EPYC, cpu, 2 threads",
        "GFLOP/s measured",
        "fp32 97.0",
        "bf16 40.0",
        "A CPU has no datasheet peak: what it was measured to reach is its peak.",
        "measured: 2026-07-01, 2 threads, matmul 1024",
        "bf16 is emulated",
    ]


def test_what_was_not_measured_says_how_to(machine: Callable[..., list[bool]], capsys: Captured) -> None:
    asked = machine(NEW_CPU)
    assert "measured: not yet; peaks --measure does it" in text_of(capsys)
    text_of(capsys, "--measure")
    assert asked == [False, True]


def test_an_unknown_device_is_not_guessed_and_its_name_is_inert(
    machine: Callable[..., list[bool]], capsys: Captured
) -> None:
    machine(STRANGER)
    shown = text_of(capsys)
    assert "NVIDIA H100 80GB HBM4\\x1b[31m, cuda 1" in shown and "\x1b" not in shown
    assert "no peak FLOP/s is known" in shown and "NVML: no NVML" in shown
    device = json_of(capsys)["devices"][0]
    assert device["datasheet"] is None and device["ceiling"] is None


def test_the_whole_catalog_is_listed_with_source_and_confidence(
    machine: Callable[..., list[bool]], capsys: Captured
) -> None:
    machine(CPU)
    shown = text_of(capsys)
    catalog = shown[shown.index("Catalog") :].splitlines()
    assert catalog[0] == f"Catalog: {len(devices())} devices, dense TFLOP/s"
    for spec in devices():
        place = next(i for i, line in enumerate(catalog) if line.startswith(f"  {spec.name[:12]}"))
        catalog[place] = ""  # each row is one device's
        assert catalog[place + 1].startswith(f"    {spec.confidence}: {spec.source[:20]}")


def test_a_row_shows_dense_peaks_and_absent_ones_as_absent(capsys: Captured) -> None:
    lines = text_of(capsys, "A100-SXM4-80GB").splitlines()
    columns, row = ([*line.split()] for line in lines[2:4])
    assert columns == ["NVIDIA", "fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "fp4", "int8"]
    assert row == ["A100", "SXM4", "80GB", "19.5", "19.5", "156", "312", "312", "-", "-", "624"]


def test_rates_under_one_tera_stay_in_the_unit_of_the_table(capsys: Captured) -> None:
    rows = [line.split() for line in text_of(capsys, "Tesla T4").splitlines()]
    assert rows[3][:4] == ["Tesla", "T4", "0.25", "8.10"]  # fp64: 254 GFLOP/s


def test_a_name_selects_whole_words_and_shows_all_that_is_known(capsys: Captured) -> None:
    named = {name: [row["name"] for row in json_of(capsys, name)["catalog"]] for name in ("L4", "h100 nvl")}
    assert named == {"L4": ["L4"], "h100 nvl": ["H100 NVL 94GB (per GPU)"]}
    assert [row["arch"] for row in json_of(capsys, "gfx942")["catalog"]] == ["CDNA3"] * 4
    spec = next(spec for spec in devices() if spec.name == "H100 SXM5 80GB")
    shown = " ".join(text_of(capsys, "NVIDIA H100 80GB HBM3").split())
    for part in (spec.source, spec.notes, "names: NVIDIA H100 80GB HBM3", "tensor clock 1,830 MHz"):
        assert " ".join(part.split()) in shown


def test_a_mig_slice_means_its_device(capsys: Captured) -> None:
    rows = json_of(capsys, "NVIDIA A100-SXM4-80GB MIG 3g.40gb")["catalog"]
    assert [row["name"] for row in rows] == ["A100 SXM4 80GB"]


@pytest.mark.parametrize("name", ["H1000 80GB HBM3", "", "no such thing"])
def test_an_unknown_name_is_status_2_with_the_nearest(name: str, capsys: Captured) -> None:
    assert main(["peaks", name]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f'error: no device of the catalog is called "{name}"\n')
    assert ("nearest known: NVIDIA H100 80GB HBM3" in err) == name.startswith("H1000")


def test_json_holds_devices_and_catalog_in_base_units(
    machine: Callable[..., list[bool]], capsys: Captured
) -> None:
    machine(A100, CPU)
    content = json_of(capsys)
    assert list(content) == ["schema_version", "devices", "devices_because", "catalog"]
    gpu, cpu = content["devices"]
    assert gpu["datasheet"]["peak_flop_per_s"]["bf16"] == 312e12
    assert gpu["ceiling"]["flop_per_s"] == {"tf32": 117e12, "bf16": 249.6e12}
    assert cpu["datasheet"] is None and cpu["ceiling"]["measured_at_s"] == A_DAY_S
    assert [row["name"] for row in content["catalog"]] == [spec.name for spec in devices()]


def test_json_goes_to_a_file_beside_the_text_and_never_over_another(tmp_path: Path, capsys: Captured) -> None:
    place = tmp_path / "peaks.json"
    assert "Catalog: 1 device," in text_of(capsys, "L4", "--json", str(place))
    assert json.loads(place.read_text())["devices"] is None
    assert main(["peaks", "L4", "--json", str(place)]) == 2
    assert "without --force" in capsys.readouterr().err
    text_of(capsys, "L4", "--json", str(place), "--force")


@pytest.mark.parametrize("width", [80, 60])
def test_no_line_is_wider_than_the_terminal(
    width: int, machine: Callable[..., list[bool]], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    machine(A100, STRANGER, CPU)
    monkeypatch.setenv("COLUMNS", str(width))
    for words in ([], ["NVIDIA"]):
        assert max(map(len, text_of(capsys, *words).splitlines())) <= width


def test_colour_changes_no_word(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    from rich.text import Text

    plain = text_of(capsys, "H100")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = text_of(capsys, "H100")
    words = [line.rstrip() for line in Text.from_ansi(coloured).plain.splitlines()]
    assert "\x1b[1m" in coloured and words == plain.splitlines()
    monkeypatch.setenv("NO_COLOR", "1")
    assert text_of(capsys, "H100") == plain


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("words", [["peaks", "H100"], ["peaks", "--help"]])
def test_the_catalog_by_name_and_help_need_no_torch(words: list[str]) -> None:
    done = python(
        f"import sys; from mfu_profiler.cli.main import main; status = main({words!r})\n"
        "assert status == 0 and 'torch' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_without_torch_the_catalog_alone_is_shown_and_how_to_see_devices() -> None:
    absent = "import sys; sys.modules['torch'] = None; from mfu_profiler.cli.main import main; sys.exit(main("
    shown = python(f"{absent}['peaks']))")
    assert shown.returncode == 0 and shown.stderr == ""
    assert "which is not installed here: pip install torch" in " ".join(shown.stdout.split())
    assert "Catalog: " in shown.stdout
    refused = python(f"{absent}['peaks', '--measure']))")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: --measure needs torch\n")


def test_a_reader_that_leaves_is_no_error() -> None:
    program = "from mfu_profiler.cli.main import main; import sys; sys.exit(main(['peaks', 'NVIDIA']))"
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert (process.stderr.read(), process.wait(60)) == (b"", 141)
    process.stderr.close()


def test_a_wrong_option_points_to_the_help_of_the_command(capsys: Captured) -> None:
    assert main(["peaks", "--bogus"]) == 2
    assert "help: python -m mfu_profiler peaks --help" in capsys.readouterr().err
