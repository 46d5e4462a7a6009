"""What to fix first: causes that are worth it, with evidence, advice and what each fix gives back."""

from mfu_profiler.analysis.findings.evidence import Evidence
from mfu_profiler.analysis.findings.inputs import FindingInputs
from mfu_profiler.analysis.findings.options import options_of
from mfu_profiler.analysis.findings.ranking import findings

__all__ = ["Evidence", "FindingInputs", "findings", "options_of"]
