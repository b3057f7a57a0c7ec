"""Measurements: speed as ratios of times taken in one run, accuracy, and memory."""

import os

# As the command line has it.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
