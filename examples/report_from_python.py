"""Reads a trace and prints its MFU and the largest loss.

python examples/report_from_python.py trace.json.gz
"""

from __future__ import annotations

import sys

import mfu_profiler


def main(path: str) -> None:
    for report in mfu_profiler.analyze_all(path):
        mfu = "unknown" if report.mfu is None else f"{report.mfu:.1%}"
        print(f"{report.device.name}: MFU {mfu}")
        losses = [row for row in report.waterfall if row.cause not in ("peak", "mfu")]
        for row in sorted(losses, key=lambda row: -row.fraction)[:1]:
            print(f"  largest loss: {row.cause}, {row.fraction:.1%} of the step")
        for finding in report.findings[:1]:
            print(f"  first: {finding.title}")
            print("  " + "\n  ".join(finding.advice))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"python {sys.argv[0]} trace.json.gz")
    main(sys.argv[1])
