"""Benchmarks: speed (as ratios of times measured in one run), accuracy and memory."""

import os

# As the command line sets it.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
