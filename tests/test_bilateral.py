"""Bilateral guided upsampling, compared with a dense float64 solve and a plain trilinear interpolation."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from torch import Tensor

from expcorr_core.bilateral import slicing
from expcorr_core.bilateral.direct import fit_directly
from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.bilateral.iterative import fit_iteratively
from expcorr_core.bilateral.slicing import choose_path
from expcorr_core.image.colour import luminance
from expcorr_core.image.resize import resize


def slice_matrix(image: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Row p holds the weight of each unknown for pixel p, for one output channel: (h * w, GH * GW * GD * 4)."""
    gh, gw, gd = size
    _, h, w = image.shape
    matrix = torch.zeros(h, w, gh, gw, gd, 4, dtype=torch.float64)
    for i, j in itertools.product(range(h), range(w)):
        r, g, b = image[:, i, j].tolist()
        position = ((i + 0.5) * (gh - 1) / h, (j + 0.5) * (gw - 1) / w, (0.25 * r + 0.5 * g + 0.25 * b) * (gd - 1))
        lower = [min(int(p), n - 2) for p, n in zip(position, size, strict=True)]
        for corner in itertools.product((0, 1), repeat=3):
            weight = 1.0
            for p, low, side in zip(position, lower, corner, strict=True):
                weight *= (p - low) if side else (1 - p + low)
            y, x, z = (low + side for low, side in zip(lower, corner, strict=True))
            matrix[i, j, y, x, z] += weight * torch.tensor([r, g, b, 1.0], dtype=torch.float64)
    return matrix.view(h * w, -1)


def dense_fit(source: Tensor, target: Tensor, weight: Tensor, size: tuple[int, int, int]) -> Tensor:
    """The least squares problem as the paper's authors write it, by a dense factorisation."""
    gh, gw, gd = size
    _, h, w = source.shape
    unknowns = gh * gw * gd * 4
    unit = torch.eye(unknowns, dtype=torch.float64).view(gh, gw, gd, 4, unknowns)
    bin_y, bin_x, bin_z = h / gh, w / gw, 1 / gd
    root = weight.flatten().sqrt()[:, None]
    rows = [
        root * slice_matrix(source, size),
        (bin_x * bin_z / bin_y) * (unit[1:] - unit[:-1]).reshape(-1, unknowns),
        (bin_y * bin_z / bin_x) * (unit[:, 1:] - unit[:, :-1]).reshape(-1, unknowns),
        4e-7
        * bin_x
        * bin_y
        / bin_z**2
        * (unit[:, :, 2:] - 2 * unit[:, :, 1:-1] + unit[:, :, :-2]).reshape(-1, unknowns),
        1e-9**0.5 * unit.reshape(-1, unknowns),
    ]
    matrix = torch.cat(rows)
    right_side = torch.zeros(len(matrix), 3, dtype=torch.float64)
    right_side[: h * w] = root * target.reshape(3, -1).T
    return torch.linalg.lstsq(matrix, right_side).solution.view(gh, gw, gd, 4, 3).mT


SOLVERS = (fit_iteratively, fit_directly)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("shape", "size"), [((23, 17), (4, 5, 3)), ((9, 31), (5, 4, 4)), ((3, 2), (4, 5, 3))])
@pytest.mark.slow
def test_fit_is_the_exact_least_squares_solution(
    solver: Callable[..., Tensor], shape: tuple[int, int], size: tuple[int, int, int]
) -> None:
    source, target = torch.rand(2, 3, *shape, dtype=torch.float64)
    weight = torch.rand(1, *shape, dtype=torch.float64)
    oracle = dense_fit(source, target, weight, size)
    grid = BilateralGrid(solver(source, target, weight, size)[None].float())
    sliced = grid.slice(source[None].float(), clamp=False)[0]
    wanted = (slice_matrix(source, size) @ oracle.mT.reshape(-1, 3)).T.view(3, *shape)
    error = (sliced - wanted).square().mean()
    assert 10 * torch.log10(1 / error) > 100  # dB
    if shape[0] > 3:  # with fewer pixels than unknowns the problem itself is too ill-conditioned to compare these
        assert (grid.coefficients[0] - oracle).abs().max() < 1e-4


@pytest.mark.parametrize("content", ["photo", "noise", "half of it without weight"])
@pytest.mark.slow
def test_both_solvers_agree(content: str) -> None:
    """At the default size, with a pair as the corrector fits it."""
    if content == "photo":
        photo = torch.from_numpy(data.coffee().copy()).permute(2, 0, 1)[None].double() / 255
        source = torch.nn.functional.interpolate(photo, (30, 40), mode="area")[0]
    else:
        source = torch.rand(3, 30, 40, dtype=torch.float64)
    weight = torch.ones(1, 30, 40, dtype=torch.float64)
    if content.startswith("half"):
        weight[:, :, 20:] = 0
    grids = [BilateralGrid(s(source, source.sqrt(), weight, (22, 22, 8))[None].float()) for s in SOLVERS]
    first, second = (grid.slice(source[None].float(), clamp=False) for grid in grids)
    assert 10 * torch.log10(1 / (first - second).square().mean()) > 100  # dB


def oracle_slice(grid: Tensor, image: Tensor) -> Tensor:
    """Trilinear interpolation by grid_sample in float64; ``(1, GH, GW, GD, 3, 4)`` and ``(1, 3, H, W)``."""
    grid, image = grid.double(), image.double().clamp(0, 1)
    height, width = image.shape[2:]
    # grid_sample aligns its corners with the outermost nodes; it wants the order (x, y, z).
    y = (torch.arange(height, dtype=torch.float64) + 0.5) / height * 2 - 1
    x = (torch.arange(width, dtype=torch.float64) + 0.5) / width * 2 - 1
    z = luminance(image)[0] * 2 - 1
    place = torch.stack((x.expand(height, width), y[:, None].expand(height, width), z), -1)[None, None]
    volume = grid.permute(0, 4, 5, 3, 1, 2).reshape(1, 12, grid.shape[3], *grid.shape[1:3])
    affine = torch.nn.functional.grid_sample(volume, place, align_corners=True, padding_mode="border")
    affine = affine.view(3, 4, height, width)
    return ((affine[:, :3] * image).sum(1) + affine[:, 3])[None]


LAYOUTS = {
    "planar": lambda image: image,
    "interleaved": lambda image: image.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "with alpha": lambda image: (
        torch.cat((image, image[:, :1]), 1).permute(0, 2, 3, 1).contiguous()[..., :3].permute(0, 3, 1, 2)
    ),
    "turned": lambda image: image.mT.contiguous().mT,
    "every second": lambda image: image.repeat_interleave(2, 3)[..., ::2],
}


def lifelike(image: Tensor) -> Tensor:
    """Values that reach beyond 0..1 and hit both ends exactly, in flat parts and noisy ones."""
    return torch.where(image < 0.15, image.round(), image * 1.2 - 0.1)


@pytest.mark.parametrize("path", ["torch", "numba"])
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_slice_is_trilinear(path: str, data: st.DataObject) -> None:
    pytest.importorskip(path, reason="needs the fast extra")
    height, width = (data.draw(st.integers(1, 300 if side else 40)) for side in (0, 1))
    gh, gw, gd = (data.draw(st.integers(2, most)) for most in (6, 24, 9))
    make = LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))]
    dtype, tolerance = data.draw(
        st.sampled_from([(torch.float32, 1e-5), (torch.float16, 1e-3), (torch.bfloat16, 8e-3)])
    )
    clamp = data.draw(st.booleans())
    grid = torch.eye(3, 4) + 0.3 * torch.randn(1, gh, gw, gd, 3, 4)
    image = make(lifelike(torch.rand(1, 3, height, width))).to(dtype)
    wanted = oracle_slice(grid, image)
    got = BilateralGrid(grid).slice(image, clamp=clamp, path=path)
    assert got.dtype == dtype
    scale = max(1.0, float(wanted.abs().max()))
    assert (got - (wanted.clamp(0, 1) if clamp else wanted)).abs().max() < tolerance * scale
    out = make(torch.full_like(image, torch.nan))
    assert BilateralGrid(grid).slice(image, out, clamp, path) is out
    assert torch.equal(out, got)


@pytest.mark.parametrize("path", ["torch", "numba"])
@pytest.mark.parametrize("value", [0.0, 1.0, 1 / 7])
def test_ends_of_the_luminance_axis(path: str, value: float) -> None:
    """Pixels that lie exactly on a node take that node's transform."""
    pytest.importorskip(path, reason="needs the fast extra")
    grid = torch.arange(8.0).view(1, 1, 1, 8, 1, 1) * torch.eye(3, 4) / 7
    image = torch.full((1, 3, 5, 200), value)
    got = BilateralGrid(grid.expand(1, 4, 5, 8, 3, 4)).slice(image, path=path)
    assert torch.allclose(got, image * value, atol=1e-6)


@pytest.mark.slow
def test_slice_is_differentiable() -> None:
    grid = torch.rand(1, 3, 4, 5, 3, 4, dtype=torch.float64, requires_grad=True)
    image = (torch.rand(1, 3, 6, 7, dtype=torch.float64) * 0.9 + 0.05).requires_grad_()
    assert torch.autograd.gradcheck(lambda g, i: BilateralGrid(g).slice(i, clamp=False), (grid, image))
    assert BilateralGrid(grid).slice(image.detach().float()).requires_grad


def test_the_fastest_path_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="needs the fast extra")
    grid, image = torch.rand(2, 2, 2, 3, 4), torch.rand(3, 4, 4)
    assert choose_path(grid, image) == "numba"
    assert choose_path(grid, image.double()) == "torch"
    assert choose_path(grid.clone().requires_grad_(), image) == "torch"
    assert choose_path(grid.to("meta"), image.to("meta")) == "torch"
    monkeypatch.setattr(slicing, "_module", lambda name: None)
    with pytest.raises(ValueError, match="the numba path needs numba, from the extra fast"):
        BilateralGrid.identity().slice(torch.rand(1, 3, 8, 8), path="numba")
    assert choose_path(grid, image) == "torch"


INTERPRETED = """
import torch
from expcorr_core.bilateral.grid import BilateralGrid

torch.manual_seed(0)
for size, shape, dtype in (((5, 6, 4), (3, 37), None), ((22, 22, 8), (2, 300), torch.float16)):
    grid = BilateralGrid(torch.randn(1, *size, 3, 4))
    image = (torch.rand(1, 3, *shape) * 1.2 - 0.1).to(dtype)
    for given in (image, image.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)):
        for clamp in (True, False):
            got, wanted = (grid.slice(given, clamp=clamp, path=path) for path in ("triton", "torch"))
            assert got.stride() == given.stride()
            assert torch.allclose(got, wanted, atol=2e-5 if dtype is None else 4e-3), (got - wanted).abs().max()
image[0, 1, 1, 1] = torch.nan
try:
    grid.slice(image, path="triton")
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
def test_triton_through_its_interpreter() -> None:
    pytest.importorskip("triton", reason="Triton is on Linux only")
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "image must not hold NaN or infinite values", done.stderr


def test_tiles_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = BilateralGrid(torch.randn(2, 5, 4, 6, 3, 4))
    image = torch.rand(2, 3, 70, 300)
    whole = grid.slice(image, path="torch")
    monkeypatch.setitem(slicing.TILE, "cpu", (7, 11))
    assert torch.allclose(grid.slice(image, path="torch"), whole, atol=1e-6)


def test_identity_and_blend() -> None:
    image = torch.rand(2, 3, 33, 44)
    identity = BilateralGrid.identity(2)
    assert torch.allclose(identity.slice(image), image, atol=1e-6)
    grid = BilateralGrid(torch.randn(2, 22, 22, 8, 3, 4))
    half = torch.lerp(image, grid.slice(image, clamp=False), 0.5)
    assert torch.allclose(grid.blend(0.5).slice(image, clamp=False), half, atol=1e-5)


def test_upsampling_recovers_a_local_change_of_exposure() -> None:
    """A smooth field of gains with a tone curve: 40 dB or better at eight times the size of the fitted pair."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 800), torch.linspace(0, 1, 1200), indexing="ij")
    image = (0.5 + 0.4 * torch.sin(torch.stack((9 * x + y, 7 * y - 3 * x, 5 * x * y)) * 3))[None]
    image = (image + 0.05 * torch.randn_like(image)).clamp(0, 1)
    change = lambda t, f: t ** (0.6 + 0.6 * f)
    field = (x + y) / 2
    small = torch.nn.functional.interpolate(image, (100, 150), mode="area")
    small_field = torch.nn.functional.interpolate(field[None, None], (100, 150), mode="area")
    result = BilateralGrid.fit_reduced(small, change(small, small_field)).slice(image)
    error = (result - change(image, field)).square().mean()
    assert 10 * torch.log10(1 / error) > 40


def test_layouts_types_and_out() -> None:
    grid = BilateralGrid.fit_reduced(torch.rand(1, 3, 40, 40), torch.rand(1, 3, 40, 40))
    image = torch.rand(1, 3, 50, 60)
    wanted = grid.slice(image)
    interleaved = image.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    got = grid.slice(interleaved)
    assert got.stride() == interleaved.stride()
    assert torch.equal(got, wanted)
    half = grid.slice(image.half())
    assert half.dtype == torch.float16
    assert (half.float() - wanted).abs().max() < 4e-3
    out = torch.full_like(image, torch.nan)
    assert grid.slice(image, out=out) is out
    assert torch.equal(out, wanted)
    assert wanted.min() >= 0
    assert wanted.max() <= 1


def test_weights_choose_what_is_fitted() -> None:
    source = torch.rand(1, 3, 60, 60)
    spoiled = source.clone()
    spoiled[:, :, 20:30] = 0
    trust = torch.ones(1, 1, 60, 60)
    trust[:, :, 20:30] = 0
    result = BilateralGrid.fit(source, spoiled, trust).slice(source)
    assert (result - source).abs().max() < 1e-3


@pytest.mark.parametrize("kind", ["black", "white", "constant", "grey", "noise", "one pixel"])
@pytest.mark.parametrize("side", [32, 200])
def test_any_content(kind: str, side: int) -> None:
    grey = torch.rand(1, 1, side, side).expand(1, 3, side, side)
    source = {
        "black": torch.zeros(1, 3, side, side),
        "white": torch.ones(1, 3, side, side),
        "constant": torch.full((1, 3, side, side), 0.4),
        "grey": grey,
        "noise": torch.rand(1, 3, side, side),
        "one pixel": torch.rand(1, 3, 1, 1),
    }[kind]
    target = source * 0.5 + 0.2
    result = BilateralGrid.fit(source, target).slice(source)
    assert (result - target).abs().max() < 1e-4


@pytest.mark.parametrize("side", [1, 32, 60])
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_where_the_pair_says_nothing_the_answer_is_the_identity(side: int, value: float) -> None:
    image = torch.rand(1, 3, 50, 70)
    flat = torch.full((1, 3, side, side), value)
    untrusted = BilateralGrid.fit(torch.rand(1, 3, 20, 20), torch.rand(1, 3, 20, 20), torch.zeros(1, 1, 20, 20))
    for grid in (BilateralGrid.fit(flat, flat), BilateralGrid.fit_reduced(flat, flat), untrusted):
        assert (grid.slice(image) - image).abs().max() < 1e-4


def test_grids_can_be_compared_and_kept_in_sets() -> None:
    first, second = BilateralGrid.identity(), BilateralGrid.identity()
    assert first == first  # noqa: PLR0124
    assert first != second
    assert len({first, second}) == 2


def test_where_a_device_cannot_resize_the_cpu_does(monkeypatch: pytest.MonkeyPatch) -> None:
    original, tried = torch.nn.functional.interpolate, []

    def interpolate(image: Tensor, *args: object, **options: object) -> Tensor:
        tried.append(image.device)
        if len(tried) == 1:
            raise NotImplementedError("aten::_upsample_bilinear2d_aa.out is not implemented for the MPS device")
        return original(image, *args, **options)  # type: ignore[arg-type]

    image = torch.rand(1, 3, 20, 30)
    wanted = resize(image, (7, 9))
    monkeypatch.setattr(torch.nn.functional, "interpolate", interpolate)
    assert torch.equal(resize(image, (7, 9)), wanted)
    assert len(tried) == 2


def test_a_path_that_fails_is_left_once_and_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton may be installed without the C compiler that it needs."""

    class Module:
        calls = 0
        error: Exception = RuntimeError("Failed to find C compiler.\nPlease specify")

        @classmethod
        def slice_image(cls, *_: object) -> bool:
            cls.calls += 1
            raise cls.error

    monkeypatch.setattr(slicing, "_module", lambda name: Module)
    monkeypatch.setattr(slicing, "_failed", set())
    image, grid = torch.rand(1, 3, 8, 9), BilateralGrid(torch.rand(1, 3, 3, 3, 3, 4))
    wanted = grid.slice(image, path="torch")
    with pytest.raises(RuntimeError, match="C compiler"):
        grid.slice(image, path="numba")  # as asked for
    with pytest.warns(
        UserWarning, match=r"^numba cannot slice here \(Failed to find C compiler.\); using PyTorch instead"
    ):
        assert torch.equal(grid.slice(image), wanted)
    assert torch.equal(grid.slice(image), wanted)
    assert Module.calls == 2
    monkeypatch.setattr(slicing, "_failed", set())
    Module.error = torch.cuda.OutOfMemoryError("full")
    with pytest.raises(torch.cuda.OutOfMemoryError):  # smaller tiles are the caller's to choose
        grid.slice(image)


THREADS = """
import torch
from expcorr_core.bilateral.grid import BilateralGrid

torch.set_num_threads(1)
for _ in range(2):  # the first call starts numba's threads
    BilateralGrid.identity().slice(torch.rand(1, 3, 20, 30), path="numba")
    import numba
    print(torch.get_num_threads(), numba.get_num_threads())
"""


@pytest.mark.slow
def test_threads_are_left_as_they_were() -> None:
    """Numba's start in a process of a bulk run would give PyTorch all cores, in each of them."""
    pytest.importorskip("numba", reason="needs the fast extra")
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == ["1", "2"] * 2, done.stderr


DEVICES = """
import contextlib, torch
from expcorr_core.bilateral import slicing_triton

entered = []

@contextlib.contextmanager
def device(index):
    entered.append(index)
    yield

class OnSecond(torch.Tensor):
    is_cuda = True

torch.cuda.device = device
image = torch.rand(3, 4, 5).as_subclass(OnSecond)
out = torch.empty(3, 4, 5)
slicing_triton._kernel = {(4, 1): lambda *_: entered.append("launched")}
slicing_triton.slice_image(torch.rand(2, 2, 2, 3, 4), image, out, True)
print(entered == [image.device, "launched"])
"""


@pytest.mark.slow
def test_triton_launches_on_the_images_device() -> None:
    """A tensor may lie on another GPU than the current one."""
    pytest.importorskip("triton", reason="Triton is on Linux only")
    done = subprocess.run([sys.executable, "-c", DEVICES], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr


def test_bad_input() -> None:
    image = torch.rand(1, 3, 8, 8)
    nan = image.clone()
    nan[0, 0, 0, 0] = torch.nan
    cases = [
        (lambda: BilateralGrid.fit(image[0], image), "shape"),
        (lambda: BilateralGrid.fit(image, image[:, :, 1:]), "target has shape"),
        (lambda: BilateralGrid.fit(nan, image), "source must not hold NaN"),
        (lambda: BilateralGrid.fit(image, image, -torch.ones(1, 1, 8, 8)), "not negative"),
        (lambda: BilateralGrid.fit(image, image, torch.ones(1, 3, 8, 8)), "weight must have shape"),
        (lambda: BilateralGrid.fit(image, image, size=(1, 2, 2)), "at least 2"),
        (lambda: BilateralGrid.fit(image, image, size=(96, 96, 32)), "8 GiB to fit; use fewer cells"),
        (lambda: BilateralGrid.identity().slice(nan, path="torch"), "image must not hold NaN"),
        (lambda: BilateralGrid.identity().slice(nan), "image must not hold NaN"),
        (lambda: BilateralGrid.identity().slice(image / 0), "image must not hold NaN"),
        (lambda: BilateralGrid.identity().slice(image.expand(2, 3, 8, 8)), "1 images, but 2"),
        (lambda: BilateralGrid.identity().slice(image, out=image[:, :, 1:]), "out has shape"),
        (lambda: BilateralGrid.identity().slice((image * 255).byte()), "floating-point"),
        (lambda: BilateralGrid.identity().slice(image, path="cuda"), "path must be torch, numba or triton"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


OTHER_HOST = """
import importlib.util, sys, torch
name = "/custom_nodes/pack"
init, folder = sys.argv[1], sys.argv[1].rpartition("/")[0]
spec = importlib.util.spec_from_file_location(name, init, submodule_search_locations=[folder])
sys.modules[name] = importlib.util.module_from_spec(spec)
bilateral = importlib.import_module(name + ".bilateral.grid")
image = torch.rand(1, 3, 20, 30)
results = [bilateral.BilateralGrid.identity().slice(image, path=path) for path in ("numba", "torch")]
assert (results[0] - results[1]).abs().max() < 1e-5
"""


@pytest.mark.slow
def test_compiled_kernels_are_found_in_other_hosts() -> None:
    """ComfyUI gives the package another name; numba's cache must work there, too."""
    pytest.importorskip("numba", reason="needs the fast extra")
    BilateralGrid.identity().slice(torch.rand(1, 3, 20, 30), path="numba")  # so that it is compiled
    init = str(Path(slicing.__file__).parent.with_name("__init__.py"))
    done = subprocess.run(
        [sys.executable, "-c", OTHER_HOST, init],
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_DEBUG_CACHE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "data loaded from" in done.stdout
    assert "data saved to" not in done.stdout


@given(st.integers(0, 2**32 - 1))
def test_slicing_beyond_white_changes_nothing_below(seed: int) -> None:
    """Bit for bit, and white has no edge: just above it is just above what white becomes."""
    generator = torch.Generator().manual_seed(seed)
    grid = BilateralGrid(BilateralGrid.identity(size=(3, 3, 3)).coefficients * torch.rand(1, generator=generator))
    image = torch.rand(1, 3, 9, 8, generator=generator)
    assert torch.equal(grid.slice_beyond(image, torch.empty_like(image)), grid.slice(image))
    image[..., 0] = 1
    beyond = image.clone()
    beyond[..., 0] = 1.001
    result, plain = grid.slice_beyond(beyond, torch.empty_like(image)), grid.slice(image)
    assert torch.equal(result[..., 1:], plain[..., 1:])
    assert torch.allclose(result[..., 0], plain[..., 0] * 1.001, atol=1e-6)
    beyond[..., 0] = float("inf")
    with pytest.raises(ValueError, match="NaN or infinite"):
        grid.slice_beyond(beyond, torch.empty_like(image))
