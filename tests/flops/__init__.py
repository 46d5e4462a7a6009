"""Tests of ``mfu_profiler.flops``; a package, so that they share ``helpers``."""
