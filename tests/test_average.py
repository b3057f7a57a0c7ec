"""Averages of weights files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from expcorr_core.method.network import Architecture, ExposureNetwork
from expcorr_core.method.weights import load_weights, read_metadata, save_weights
from training import average


def write(path: Path, value: float, normalised: bool = True) -> Path:
    network = ExposureNetwork(Architecture((1, 1), (4, 4)), normalised=normalised)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)
    save_weights(path, network, {"commit": str(value), "arguments": {}})
    return path


def test_shares_weigh_the_files(tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    files = [
        f"{write(tmp_path / f'{value}.safetensors', value)}={share}" for value, share in ((1.0, 0.75), (3.0, 0.25))
    ]
    average.main([str(out), *files])
    network = load_weights(out)
    assert network.normalised
    assert all(torch.allclose(value, torch.tensor(1.5)) for value in network.state_dict().values())
    training = read_metadata(out)["training"]
    assert training["commit"] == "1.0"
    assert [(part["share"], part["commit"]) for part in training["average"]] == [(0.75, "1.0"), (0.25, "3.0")]


def test_what_cannot_be_averaged(tmp_path: Path) -> None:
    first, other = write(tmp_path / "a.safetensors", 1), write(tmp_path / "b.safetensors", 1, normalised=False)
    out = tmp_path / "out.safetensors"
    for files, message in (
        ([f"{first}=0.5"], "add up to 1, got 0.5"),
        ([f"{first}=1.5", f"{first}=-0.5"], "must be positive"),
        ([f"{first}=0.5", f"{other}=0.5"], "belongs to a different network"),
        ([f"{tmp_path / 'none'}=1"], "does not exist"),
    ):
        with pytest.raises(SystemExit, match=message):
            average.main([str(out), *files])
        assert not out.exists()
    out.touch()
    with pytest.raises(SystemExit, match="exists; remove it"):
        average.main([str(out), f"{first}=1"])
