"""The profiled window: torch's profiler, stack samples, and the way to trace and report."""
