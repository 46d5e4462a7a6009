"""``python -m mfu_profiler``: the command line."""

from __future__ import annotations

import sys

from mfu_profiler.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
