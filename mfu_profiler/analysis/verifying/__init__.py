"""A prediction held against the run after its fix."""

from __future__ import annotations

from mfu_profiler.analysis.verifying.verification import Verification
from mfu_profiler.analysis.verifying.verify import verification, verifications

__all__ = ["Verification", "verification", "verifications"]
