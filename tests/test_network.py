"""The network: sizes of the paper, coarse to fine, losses."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from expcorr_core.method.network import Architecture, ExposureNetwork, UNet
from expcorr_core.method.pyramid import laplacian_pyramid


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameter_counts_of_the_paper() -> None:
    network = ExposureNetwork()
    assert [count(unet) for unet in network.unets] == [482_067, 1_083_675, 1_083_675, 4_365_915]
    assert [count(transition) for transition in network.transitions] == [39, 39, 39]
    assert network.parameter_count() == 7_015_449
    assert network.architecture.multiple == 128


@pytest.mark.parametrize(
    ("levels", "parameters", "multiple"),
    [(1, 4_365_915, 16), (2, 4_848_021, 32), (3, 5_931_735, 64), (4, 7_015_449, 128)],
)
def test_ablation_sizes(levels: int, parameters: int, multiple: int) -> None:
    architecture = Architecture.of_levels(levels)
    network = ExposureNetwork(architecture)
    assert network.parameter_count() == parameters
    assert architecture.multiple == multiple
    assert Architecture.from_shapes({key: value.shape for key, value in network.state_dict().items()}) == architecture
    image = torch.rand(1, 3, multiple, 2 * multiple)
    with torch.inference_mode():
        outputs = network(laplacian_pyramid(image, levels))
    assert len(outputs) == levels
    assert outputs[-1].shape == image.shape


@pytest.mark.parametrize("channels_last", [False, True])
def test_equations(channels_last: bool) -> None:
    """Y4 = T4(U4(X4)); Y(l) = T(l)(U(l)(Y(l+1) + X(l)) + Y(l+1)); Y = U1(Y2 + X1) + Y2."""
    network = ExposureNetwork(Architecture((1, 1, 1, 2), (4, 6, 6, 8)))
    network.initialise()
    for p in network.parameters():
        nn.init.normal_(p, std=0.2)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    x1, x2, x3, x4 = bands = laplacian_pyramid(torch.rand(2, 3, 32, 64), 4)
    (u1, u2, u3, u4), (t2, t3, t4) = network.unets, network.transitions
    y4 = t4(u4(x4))
    y3 = t3(u3(y4 + x3) + y4)
    y2 = t2(u2(y3 + x2) + y3)
    y1 = u1(y2 + x1) + y2
    for got, wanted in zip(network(bands), (y4, y3, y2, y1), strict=True):
        assert torch.allclose(got, wanted, atol=1e-5)
    coarse = network([None, None, x3, x4], finest=3)
    assert len(coarse) == 2
    assert torch.allclose(coarse[-1], y3, atol=1e-5)


def test_initialisation_starts_by_passing_on_the_coarsest_output() -> None:
    network = ExposureNetwork(Architecture((1, 1), (4, 4)))
    network.initialise()
    coarse, fine = network(laplacian_pyramid(torch.rand(1, 3, 8, 8), 2))
    assert torch.equal(coarse, fine)
    assert torch.equal(coarse[..., ::2, ::2], coarse[..., 1::2, 1::2])


def test_operations_namespace_is_used() -> None:
    class Conv2d(nn.Conv2d):
        pass

    class ConvTranspose2d(nn.ConvTranspose2d):
        pass

    network = ExposureNetwork(operations=SimpleNamespace(Conv2d=Conv2d, ConvTranspose2d=ConvTranspose2d))
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert layers
    assert all(isinstance(layer, Conv2d | ConvTranspose2d) for layer in layers)


def test_unet_layers() -> None:
    """Leaky ReLU 0.2 after the convolutions, plain ReLU after the transposed ones, no normalisation."""
    unet = UNet(1, 2)
    x = torch.randn(1, 3, 4, 4)

    def double(block: nn.Sequential, value: torch.Tensor) -> torch.Tensor:
        for layer in (block[0], block[2]):
            value = nn.functional.leaky_relu(layer(value), 0.2)
        return value

    skip = double(unet.encoder[0], x)
    deep = double(unet.bridge, nn.functional.max_pool2d(skip, 2))
    joined = torch.cat((torch.relu(unet.up[0](deep)), skip), 1)
    assert torch.allclose(unet(x), unet.head(double(unet.decoder[0], joined)), atol=1e-6)


def test_bad_sizes_are_refused() -> None:
    network = ExposureNetwork(Architecture((1, 1), (4, 4)))
    with pytest.raises(ValueError, match="divisible by 2"):
        network(laplacian_pyramid(torch.rand(1, 3, 6, 8), 2))
    with pytest.raises(ValueError, match="2 levels, got 3 bands"):
        network(laplacian_pyramid(torch.rand(1, 3, 8, 8), 3))
    with pytest.raises(ValueError, match="one entry per level"):
        Architecture((3,), (24, 24))
    with pytest.raises(ValueError, match="positive"):
        Architecture((0,), (24,))
    with pytest.raises(ValueError, match=r"1\.\.4"):
        Architecture.of_levels(5)
    with pytest.raises(ValueError, match="not those"):
        Architecture.from_shapes({"weight": (3,)})
