"""Benchmarks: what a report costs, against yardsticks in the same run on the same machine.

Install and run, from the repository's root and alone on the machine (no ``-n``, nothing else running)::

    pip install -e ".[test,benchmark]"
    pytest -m benchmark tests/benchmarks

The figures are printed as a table at the end, whether or not every claim holds. All are of whole processes,
from start to exit: imports, reading, analysis and printing. Four real traces (``../shared/traces``) are
repeated to at least one million events and 250 MB each by ``repeat.py``, in a temporary folder that needs
3 GB of disk while the benchmarks run. It takes about ten minutes, HolisticTraceAnalysis four of them,
and needs 4 GB of memory; ``-k "not holistic"`` leaves it out.

============ =================================================== ===========================================
file         claim                                               yardstick
============ =================================================== ===========================================
test_speed   ``report`` takes at most 1/10                       HolisticTraceAnalysis 0.5.0: load the trace,
                                                                 temporal breakdown (skipped where absent)
test_speed   ``report`` takes at most 4 times                    pysimdjson: bare parse (skipped where absent)
test_memory  ``report`` needs at most 1.8 times                  the size of the file
test_linear  from 4 to 16 times the events costs 4 times         from 1 to 4 times
             what it costs (within 20 %)
test_startup ``--help`` takes at most 0.5 s; torch is not        -
             imported, not even where it is installed
test_fixes   what findings predict for examples/fixes is within  the step times that the fixes achieve
             15 %; for attention and batch size, the direction
============ =================================================== ===========================================

``repeat.py`` makes long traces by hand as well: ``python -m tests.benchmarks.repeat SOURCE TARGET``.
``test_repeat.py`` holds that their reports are what they should be; it is quick and runs with all tests.
"""
