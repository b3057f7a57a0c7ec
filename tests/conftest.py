"""Pictures and networks shared by the tests."""

from __future__ import annotations

import os
from pathlib import Path

# Read when PyTorch is loaded, here and by the programs that tests start: where other programs keep the cores busy,
# threads that wait for each other take many times as long as one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # also where a test only asks whether ONNX Runtime is there

import numpy as np
import pytest
import torch
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image

from expcorr_core.corrector import Corrector
from expcorr_core.method.network import Architecture, ExposureNetwork

# Forbids PyTorch in every process that is started with its folder on the path, those of a bulk run too.
FORBID = """
import sys

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, Forbid())
"""

settings.register_profile("any machine", deadline=None)  # the first example may compile kernels
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def corrector() -> Corrector:
    """With the paper's weights, in float32: the same on every processor."""
    return Corrector.load("paper", dtype=torch.float32)


@pytest.fixture(scope="session")
def default_corrector() -> Corrector:
    """With the bundled default weights."""
    return Corrector.load()


@pytest.fixture
def small_network() -> ExposureNetwork:
    """Two levels of few channels, randomly initialised; sizes must be divisible by 4."""
    network = ExposureNetwork(Architecture((1, 1), (4, 4)))
    network.initialise()
    return network.eval()


@pytest.fixture
def scene() -> NDArray[np.uint8]:
    """A picture of 97 x 143 pixels with gradients, edges, colours and texture."""
    y, x = np.mgrid[0:97, 0:143]
    red = 90 + 80 * np.sin(x / 23) + 30 * ((x // 16 + y // 16) % 2)
    green = 40 + 1.6 * y
    blue = 200 - x + 12 * np.random.default_rng(0).standard_normal(x.shape)
    return np.stack((red, green, blue), -1).clip(0, 255).astype(np.uint8)


@pytest.fixture
def photo(tmp_path: Path, scene: NDArray[np.uint8]) -> Path:
    """The scene as a JPEG file."""
    path = tmp_path / "in" / "scene.jpg"
    path.parent.mkdir()
    Image.fromarray(scene).save(path, quality=95)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two small photographs."""
    data = pytest.importorskip("skimage.data", reason="the photographs come with scikit-image")
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee"):
        Image.fromarray(getattr(data, name)()).resize((192, 144)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def no_torch(tmp_path: Path) -> Path:
    """A folder that forbids PyTorch to processes that are started with it on the path."""
    folder = tmp_path / "no_torch"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(FORBID)
    return folder
