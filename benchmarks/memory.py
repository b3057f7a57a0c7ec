"""Print the peak memory of one correction beyond its input and output, in MB (Linux).

python -m benchmarks.memory HEIGHT WIDTH
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from expcorr_core.corrector import Corrector

STATUS = Path("/proc/self/status")


def held(name: str) -> int:
    """A value of this process's memory status, bytes."""
    return int(STATUS.read_text("ascii").partition(f"{name}:")[2].split()[0]) * 1024


def main() -> None:
    height, width = (int(text) for text in sys.argv[1:])
    corrector = Corrector.load()
    image = torch.rand(1, height, width, 3).permute(0, 3, 1, 2)
    corrector(image[:, :, :64, :64])  # what is loaded only once does not count
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # resets the peak
    before = held("VmRSS")
    result = corrector(image)
    print((held("VmHWM") - before - result.nbytes) / 1e6)


if __name__ == "__main__":
    main()
