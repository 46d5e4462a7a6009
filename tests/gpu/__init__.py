"""Tests of a real device: ``pytest -m gpu``, the first thing to run on a machine that nobody has tried.

``MFU_PROFILER_REHEARSE=1 pytest -m gpu tests/gpu`` runs on the CPU whatever makes sense there.
"""
