"""What users of the library call first: the package's names, one function for all kinds of photo, a module, the Hub."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import hub_server
import numpy as np
import photo_files as make
import pytest
import torch
from hub_server import HubServer
from numpy.typing import NDArray
from PIL import Image

import expcorr_core as ec
from expcorr_core.method.network import ExposureNetwork

hub = hub_server.hub  # the fixture


def test_all_names_are_there() -> None:
    assert dir(ec) == ec.__all__
    for name in ec.__all__:
        assert getattr(ec, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ec.nothing  # noqa: B018


def test_the_package_alone_loads_nothing() -> None:
    code = "import sys, expcorr_core as ec; ec.Settings(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_named_file(photo: Path, tmp_path: Path) -> None:
    written = ec.correct(str(photo))
    assert written == str(photo.with_stem("scene_corrected"))
    assert ec.correct(photo, tmp_path / "other.png") == tmp_path / "other.png"
    with Image.open(written) as image, Image.open(tmp_path / "other.png") as other:
        assert np.abs(np.asarray(image).astype(int) - np.asarray(other)).mean() < 2
    with pytest.raises(ec.ImageError, match="exists"):
        ec.correct(photo)
    assert ec.correct(photo, overwrite=True) == Path(written)


def test_names_of_files_may_be_strings(photo: Path, corrector: ec.Corrector, tmp_path: Path) -> None:
    def name(file: str) -> str:
        return str(tmp_path / file)

    read = ec.read_photo(str(photo))
    assert np.array_equal(read.pixels, ec.read_photo(photo).pixels)
    ec.write_photo(name("a.png"), read)
    with pytest.raises(ec.ImageError, match=r"a\.png exists"):
        ec.write_photo(name("a.png"), read)
    with pytest.raises(ec.ImageError, match="does not exist"):
        ec.read_photo(name("b.png"))
    ec.save_weights(name("w.safetensors"), corrector.network, {})
    assert ec.Corrector.load(name("w.safetensors")).network.architecture == corrector.network.architecture
    height, width = read.pixels.shape[:2]
    grid = corrector.estimate(read.to_tensor())
    correction = ec.Correction(grid, height=height, width=width, settings=ec.Settings())
    ec.save_grid(name("g.safetensors"), correction)
    found = ec.load_grid(name("g.safetensors"))
    assert torch.allclose(found.grid.coefficients, grid.coefficients, atol=1e-6)


def test_bytes_keep_their_format_and_what_they_carry(tmp_path: Path) -> None:
    source = make.jpeg(tmp_path / "a.jpg", (0xE1, b"Exif\0\0" + make.exif_block(orientation=6)), (0xFE, b"a comment"))
    result = ec.correct(source.read_bytes())
    assert result.startswith(b"\xff\xd8")
    assert b"a comment" in result
    assert make.AUTHOR in result
    with Image.open(io.BytesIO(result)) as image:
        assert image.size == (64, 96)
        assert image.getexif()[274] == 1
    tiff = ec.correct(make.tiff(tmp_path / "a.tif").read_bytes())
    with Image.open(io.BytesIO(tiff)) as image:
        assert (image.format, image.size) == ("TIFF", (96, 64))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK"])
def test_pil_images(scene: NDArray[np.uint8], mode: str) -> None:
    image = Image.fromarray(scene)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    image = image.convert(mode)
    image.info["dpi"] = (300, 300)
    result = ec.correct(image)
    assert result.mode == {"P": "RGB", "CMYK": "RGB"}.get(mode, mode)
    assert result.size == image.size
    assert result.info["dpi"] == (300, 300)
    if "A" in mode:
        assert np.array_equal(np.asarray(result)[..., -1], np.asarray(image)[..., -1])
    assert not np.array_equal(np.asarray(result.convert("RGB")), np.asarray(image.convert("RGB")))


def test_pil_images_are_turned_upright(tmp_path: Path) -> None:
    source = make.jpeg(tmp_path / "a.jpg", (0xE1, b"Exif\0\0" + make.exif_block(orientation=6)))
    with Image.open(source) as image:
        assert ec.correct(image).size == (64, 96)


@pytest.mark.parametrize(
    ("dtype", "channels"), [(np.uint8, 0), (np.uint8, 3), (np.uint16, 4), (np.float32, 1), (np.float64, 3)]
)
def test_arrays(scene: NDArray[np.uint8], dtype: type[np.generic], channels: int) -> None:
    values = np.concatenate((scene, scene[..., :1]), 2)[..., : max(1, channels)] / 255
    peak = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    array: NDArray[Any] = (values * peak).round().astype(dtype) if peak > 1 else values.astype(dtype)
    array = array[..., 0] if channels == 0 else array
    before = array.copy()
    result = ec.correct(array)
    assert (result.shape, result.dtype) == (array.shape, array.dtype)
    assert np.array_equal(array, before)
    image = torch.from_numpy(np.broadcast_to(values[..., :3], scene.shape).astype(np.float32)).permute(2, 0, 1)[None]
    wanted = ec.correct(image)[0].permute(1, 2, 0).numpy()
    shown = (result[..., None] if channels == 0 else result[..., :3]) / peak
    assert np.abs(shown - (wanted if channels >= 3 else wanted.mean(2, keepdims=True))).max() < 0.01
    if channels == 4:
        assert np.array_equal(result[..., 3], array[..., 3])


def test_what_is_no_photo() -> None:
    with pytest.raises(TypeError, match="not list"):
        ec.correct([1, 2])  # type: ignore[type-var]
    with pytest.raises(ValueError, match="shape"):
        ec.correct(np.zeros((2, 2, 2, 2)))
    with pytest.raises(ValueError, match="only be given for a photo"):
        ec.correct(np.zeros((2, 2)), "out.png")
    with pytest.raises(TypeError, match="not Settings; settings are given by name"):
        ec.correct("photo.jpg", ec.Settings())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"must be uint8, uint16 or floating-point in 0..1, got int64"):
        ec.correct(np.zeros((2, 2, 3), np.int64))
    for values in (np.full((2, 2, 3), 200.0), torch.full((1, 3, 2, 2), 200.0)):
        with pytest.raises(
            ValueError, match=r"floating-point values must be in 0..1, got up to 200; divide them first"
        ):
            ec.correct(values)
    with pytest.raises(TypeError, match=r"image must be a tensor .*, not str; expcorr_core.correct takes other kinds"):
        ec.Corrector.load()("photo.jpg")
    with pytest.raises(ec.ImageError, match="the photo is empty"):
        ec.correct(b"")


def test_settings_and_correctors_are_heeded(corrector: ec.Corrector, scene: NDArray[np.uint8]) -> None:
    assert np.array_equal(ec.correct(scene, settings=ec.Settings(strength=0)), scene)
    moved = ec.Corrector(corrector.network)
    assert np.array_equal(ec.correct(scene, corrector=moved), ec.correct(scene, corrector=corrector))


def test_a_corrector_is_a_module(small_network: ExposureNetwork) -> None:
    corrector = ec.Corrector(small_network).eval()
    assert isinstance(corrector, torch.nn.Module)
    assert (corrector.device.type, corrector.dtype) == ("cpu", torch.float32)
    assert not corrector.training
    image = torch.rand(1, 3, 20, 24)
    before = corrector(image)
    assert corrector.to(torch.bfloat16).dtype == torch.bfloat16
    assert corrector(image).dtype == torch.float32
    corrector.float()
    assert torch.allclose(corrector(image), before, atol=0.05)  # its weights were rounded
    assert corrector.to("meta").device.type == "meta"


def test_gradients_reach_the_network(small_network: ExposureNetwork) -> None:
    corrector = ec.Corrector(small_network).requires_grad_()
    image = torch.rand(2, 3, 18, 22, requires_grad=True)
    corrector.correct_small(image, flip=True).square().mean().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert all(p.grad is not None for p in corrector.parameters())


def test_saved_and_loaded_again(corrector: ec.Corrector, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="the Hub's client comes with the train extra")
    corrector.save_pretrained(tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {"README.md", "config.json", "expcorr-global-fp16.safetensors"}
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architecture"] == corrector.network.architecture.to_dict()
    card = (tmp_path / "model" / "README.md").read_text()
    for line in ("library_name: expcorr", "pipeline_tag: image-to-image", "license: apache-2.0", "2003.11596"):
        assert line in card
    again = ec.Corrector.from_pretrained(tmp_path / "model", dtype=torch.float32)
    image = torch.rand(1, 3, 40, 50)
    assert torch.allclose(again(image), corrector(image), atol=1e-3)  # half precision
    assert again.network.training_record == corrector.network.training_record != {}
    with pytest.raises(ec.WeightsError, match="contains no expcorr-global"):
        ec.Corrector.from_pretrained(tmp_path)
    for name in (tmp_path / "none", "./none", "none"):
        with pytest.raises(
            ec.WeightsError, match=r"there is no folder .*none; name one, or a repository as owner/name"
        ):
            ec.Corrector.from_pretrained(name)
    with pytest.raises(ec.WeightsError, match="is a folder; name the file in it"):
        ec.Corrector.load(tmp_path)


def test_from_a_hub(hub: HubServer, corrector: ec.Corrector, tmp_path: Path) -> None:
    corrector.save_pretrained(tmp_path / "model")
    files = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    hub.files["owner/name", "main"] = hub.files["owner/name", "v1"] = files
    for revision in (None, "v1"):
        loaded = ec.Corrector.from_pretrained("owner/name", revision=revision, dtype=torch.float32)
        assert loaded.network.training_record == corrector.network.training_record
    hub.stop()
    assert ec.Corrector.from_pretrained("owner/name").network.parameter_count() == 7_015_449  # of the cache
    with pytest.raises(ec.WeightsError, match="not in the cache"):
        ec.Corrector.from_pretrained("owner/other")


def test_pushed_to_the_hub(corrector: ec.Corrector, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: dict[str, Any] = {}

    class Api:
        def __init__(self, **_: Any) -> None: ...

        def create_repo(self, repo_id: str, **_: Any) -> Any:
            return type("Url", (), {"repo_id": repo_id})

        def upload_folder(self, *, repo_id: str, folder_path: Path, **_: Any) -> str:
            pushed[repo_id] = sorted(path.name for path in Path(folder_path).iterdir())
            return "https://hub/commit"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Api)
    assert corrector.push_to_hub("owner/name") == "https://hub/commit"
    assert pushed == {"owner/name": ["README.md", "config.json", "expcorr-global-fp16.safetensors"]}
