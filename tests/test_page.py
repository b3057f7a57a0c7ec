"""The page as a static host serves it, in real browsers, against the command line's results.

It runs where Node.js and the page's packages (``npm ci`` in web/app, or PLAYWRIGHT_CORE) are, where the models are
(in weights/onnx, or where EXPCORR_ONNX says), and in Chromium (or where
CHROMIUM_PATH says) and Firefox (or FIREFOX_PATH), each if it is installed. SCREENSHOTS=FOLDER writes pictures there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import photo_files as make
import pytest
from PIL import Image

from benchmarks.page import hosted
from expcorr_core.cli import main
from expcorr_core.photos.icc import DISPLAY_P3
from expcorr_core.photos.reading import read_photo

ROOT = Path(__file__).parent.parent
APP = ROOT / "web" / "app"
PACKAGES = APP / "node_modules"
PLAYWRIGHT = Path(os.environ.get("PLAYWRIGHT_CORE", PACKAGES))
MODELS = Path(os.environ.get("EXPCORR_ONNX", ROOT / "weights" / "onnx"))
BROWSERS = {
    "chromium": os.environ.get("CHROMIUM_PATH") or shutil.which("chromium"),
    "firefox": os.environ.get("FIREFOX_PATH") or shutil.which("firefox-esr"),
}
NEEDED = {
    "Node.js is not installed": shutil.which("node"),
    "the page's packages are missing; run npm ci in web/app": (PACKAGES / "onnxruntime-web").is_dir(),
    "PLAYWRIGHT_CORE names no node_modules with playwright-core": (PLAYWRIGHT / "playwright-core").is_dir(),
    "EXPCORR_ONNX names no folder of models": (MODELS / "model_fp16.onnx").is_file(),
}
MISSING = [reason for reason, part in NEEDED.items() if not part]
SECONDS = 1200

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason="; ".join(MISSING))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, built."""
    folder = tmp_path_factory.mktemp("site") / "page"
    result = build("--models", MODELS, folder)
    assert result.returncode == 0, result.stdout + result.stderr
    [size] = re.findall(r"to load on first use: ([\d.]+) MB", result.stdout)
    assert float(size) <= 8
    return folder


def build(*options: object) -> subprocess.CompletedProcess[str]:
    command = ["node", str(APP / "build.mjs"), *map(str, options)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


def in_browser(browser: str, site: Path, out: Path, steps: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Run web/app/test/page.mjs; gives what it saw. Nothing may be complained of, nor asked of another server."""
    if not BROWSERS[browser]:
        pytest.skip(f"{browser} is not installed, and {browser.upper()}_PATH names none")
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]+)"', (site / "index.html").read_text("utf-8"))
    out.mkdir(exist_ok=True)
    order = {
        "playwright": str(PLAYWRIGHT), "browser": browser, "executable": BROWSERS[browser], "site": str(site),
        "out": str(out), "policy": policy, "steps": steps, **more,
    }  # fmt: skip
    command = ["node", str(APP / "test" / "page.mjs"), json.dumps(order)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
    assert result.returncode == 0, result.stdout + result.stderr
    seen = dict(json.loads(result.stdout))
    assert seen["complaints"] == []
    assert seen["elsewhere"] == []
    return seen


def difference(made: Path, source: Path, *options: str) -> tuple[int, float]:
    """The largest and the mean difference of a result from the command line's, of 255."""
    wanted = source.with_name(f"{source.stem}-wanted{made.suffix}")
    assert main(["correct", str(source), "-o", str(wanted), "--quiet", "--overwrite", *options]) == 0
    one, other = read_photo(made), read_photo(wanted)
    assert (one.alpha is None) == (other.alpha is None)
    assert one.alpha is None or np.array_equal(one.alpha, other.alpha)
    assert one.pixels.shape == other.pixels.shape
    apart = np.abs(one.pixels.astype(int) - other.pixels)
    return int(apart.max()), float(apart.mean())


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Photos of all the kinds that people bring, and what is none."""
    folder = tmp_path_factory.mktemp("photos")
    found = {name: folder / name for name in (
        "large.jpg", "turned.jpg", "p3.jpg", "alpha.png", "iphone.heic", "dot.png", "text.jpg",
    )}  # fmt: skip
    coffee = Image.open(ROOT / "examples" / "coffee_under.jpg").convert("RGB")
    noise = np.random.default_rng(5).normal(0, 2, (4000, 6000, 1)).astype(np.float32)
    pixels = np.asarray(coffee.resize((6000, 4000), Image.Resampling.BICUBIC)) + noise
    Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)).save(found["large.jpg"], quality=92)
    coffee.save(found["turned.jpg"], quality=95, exif=b"Exif\0\0" + make.exif_block(orientation=6))
    coffee.save(found["p3.jpg"], quality=95, icc_profile=DISPLAY_P3)
    shade = Image.linear_gradient("L").resize(coffee.size).point(lambda value: 255 if value < 200 else value)
    coffee.putalpha(shade)
    coffee.save(found["alpha.png"])
    try:
        import pillow_heif

        pillow_heif.from_pillow(coffee.convert("RGB")).save(found["iphone.heic"])
    except ImportError:  # its beginning is what the page looks at
        found["iphone.heic"].write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    Image.new("RGB", (1, 1), (30, 20, 10)).save(found["dot.png"])
    found["text.jpg"].write_text("Dear diary, today was a good day.\n")
    return found


@pytest.fixture(scope="module")
def next_site(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new version of the page, with another title, as a new build would make it."""
    folder = tmp_path_factory.mktemp("next") / "page"
    shutil.copytree(site, folder)
    page = (folder / "ui" / "words" / "en.js").read_text("utf-8")
    changed = page.replace('title: "Exposure Correction"', 'title: "Exposure Correction 2"', 1)
    assert changed != page
    (folder / "ui" / "words" / "en.js").write_text(changed, "utf-8")
    before, after = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (page, changed))
    for name in ("service_worker.js", "files.json"):
        text = (folder / name).read_text("utf-8")
        assert before in text
        (folder / name).write_text(text.replace(before, after), "utf-8")
    return folder


@pytest.fixture(scope="module")
def seen(
    site: Path, next_site: Path, photos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What Chromium showed."""
    steps: list[dict[str, Any]] = [
        {"photos": [str(photos["turned.jpg"])], "drop": True},
        {"photos": [str(photos["large.jpg"])]},
        {"photos": [str(photos["alpha.png"])], "strength": 0.5},
        {"photos": [str(photos[name]) for name in ("p3.jpg", "iphone.heic", "dot.png", "text.jpg", "alpha.png")]},
    ]
    out = tmp_path_factory.mktemp("out")
    return in_browser("chromium", site, out, steps, next=str(next_site))


def result(seen: dict[str, Any], step: int, number: int = 0) -> Path:
    photo = seen["steps"][step]["photos"][number]
    assert photo["state"] == "done", photo
    return Path(photo["file"])


def test_a_large_photo_is_the_command_lines(seen: dict[str, Any], photos: dict[str, Path]) -> None:
    largest, mean = difference(result(seen, 1), photos["large.jpg"])
    # Where rounding differs by 1 before both are encoded, JPEG makes up to 3 of it, in some 40 of 72 million values.
    assert (largest <= 3, mean <= 0.01) == (True, True), (largest, mean)


def test_a_turned_photo_is_upright_and_keeps_its_metadata(seen: dict[str, Any], photos: dict[str, Path]) -> None:
    made = result(seen, 0)
    assert made.name.endswith("turned_corrected.jpg")
    largest, mean = difference(made, photos["turned.jpg"])
    assert mean <= 0.5, (largest, mean)
    with Image.open(made) as image:
        assert image.size == (400, 600)
        assert image.getexif().get(0x0112, 1) == 1
        assert image.format == "JPEG"
    assert make.AUTHOR in made.read_bytes()


def test_alpha_and_strength(seen: dict[str, Any], photos: dict[str, Path]) -> None:
    for made, strength in ((result(seen, 2), "0.5"), (result(seen, 3, 4), "1")):
        largest, mean = difference(made, photos["alpha.png"], "--strength", strength)
        assert (largest <= 2, mean <= 0.5) == (True, True), (largest, mean)


def test_a_queue_of_five_with_what_cannot_be_opened(seen: dict[str, Any], photos: dict[str, Path]) -> None:
    wide, heic, dot, text, _ = seen["steps"][3]["photos"]
    assert [photo["state"] for photo in (wide, dot)] == ["done", "done"]
    assert (heic["state"], "HEIC" in heic["told"]) == ("failed", True), heic
    assert (text["state"], "not a photo" in text["told"]) == ("failed", True), text
    with Image.open(dot["file"]) as image:
        assert image.size == (1, 1)
    with Image.open(wide["file"]) as image:
        assert b"P3" in image.info["icc_profile"].replace(b"\0", b"")
    largest, mean = difference(Path(wide["file"]), photos["p3.jpg"])
    assert mean <= 1, (largest, mean)


def test_it_is_loaded_twice_at_most_and_is_small(seen: dict[str, Any]) -> None:
    """Once more for threads, which a host without the headers for them cannot give."""
    assert seen["loads"] == 2
    assert seen["served"] <= 8.5e6  # the first load's own files come twice


def test_it_works_offline_and_takes_over_a_new_version(seen: dict[str, Any]) -> None:
    for part in ("offline", "updated"):
        assert seen[part]["photos"][0]["state"] == "done"
    assert Path(seen["offline"]["photos"][0]["file"]).read_bytes() == result(seen, 0).read_bytes()
    assert seen["versions"] == ["Exposure Correction", "Exposure Correction 2"]


def test_the_main_path_in_firefox(site: Path, photos: dict[str, Path], tmp_path: Path) -> None:
    steps = [{"photos": [str(photos["turned.jpg"])], "drop": True}, {"photos": [str(photos["text.jpg"])]}]
    seen = in_browser("firefox", site, tmp_path / "out", steps)
    largest, mean = difference(result(seen, 0), photos["turned.jpg"])
    assert mean <= 0.5, (largest, mean)
    assert seen["steps"][1]["photos"][0]["state"] == "failed"
    assert seen["loads"] == 2


def test_the_interface(site: Path) -> None:
    """With a keyboard only, in six languages, at seven widths; axe finds nothing that shuts people out."""
    if not BROWSERS["chromium"]:
        pytest.skip("chromium is not installed, and CHROMIUM_PATH names none")
    environment = {**os.environ, "CHROMIUM_PATH": BROWSERS["chromium"]}
    environment.pop("SCREENSHOTS", None)  # which are of the other tests
    with hosted(site) as address:
        command = ["node", str(APP / "test" / "ui.mjs"), address]
        result = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_build_spares_other_peoples_folders(site: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "letter.txt").write_text("mine")
    models = tmp_path / "none"
    refused = build("--models", models, own)
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        f"build.mjs: {models / 'model_fp16.onnx'} is missing; make the models with: python"
    )
    models.mkdir()
    for name in ("model_fp16.onnx", "fit.onnx"):
        (models / name).write_bytes(b"none")
    refused = build("--models", models, own)
    assert refused.stderr == f"build.mjs: {own} has files that were not made here; empty it or name another folder\n"
    assert [path.name for path in own.iterdir()] == ["letter.txt"]
    (own / "letter.txt").unlink()
    assert build("--models", models, own).returncode == 0
    (own / "ui" / "old.js").write_text("old")
    assert build("--models", models, own).returncode == 0  # it made what is there
    assert not (own / "ui" / "old.js").exists()
    assert 'data-bytes="4"></option></select>' in (own / "index.html").read_text("utf-8")
    (models / "paper_fp16.onnx").write_bytes(b"paper")
    assert build("--models", models, own).returncode == 0  # which asks nobody to load it at once
    assert '<option value="paper" data-bytes="5"></option></select>' in (own / "index.html").read_text("utf-8")
    (models / "fit.onnx").write_bytes(bytes(4_000_000))
    refused = build("--models", models, own)
    assert (refused.returncode, refused.stderr) == (1, "build.mjs: that is more than 8 MB\n")
    served = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    listed = {file["path"] or "index.html" for file in json.loads((site / "files.json").read_text())}
    assert served - listed == {"files.json", "service_worker.js", *(name for name in served if "licences" in name)}
    assert listed <= served
