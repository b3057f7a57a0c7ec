"""Write a model card for a weights file and upload both to the Hugging Face Hub; or upload the page as a Space.

    python training/publish.py WEIGHTS --repo-id OWNER/NAME --metrics EVAL/table.md --sources photos.csv --dry-run
    python training/publish.py --space OWNER/NAME --models OWNER/NAME --dry-run

Without --dry-run it uploads, with the token of `hf auth login` or of the variable HF_TOKEN. Files that are
already in the repository are replaced only with --overwrite.
"""

from __future__ import annotations

if not __package__:
    import run_as_module  # noqa: F401 (runs this file as a module of the package, then exits)

import argparse
import csv
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, RepositoryNotFoundError

from expcorr_core.files import digest
from expcorr_core.method.weights import load_weights, read_metadata
from expcorr_core.pretrained import PAPER, TAGS

from .tables import markdown

# Those of the client's HTTP library, which differs between versions.
NETWORK_ERRORS: tuple[type[Exception], ...] = (*HfHubHTTPError.__bases__,)
ROOT = Path(__file__).parent.parent
ONNX = ("model.onnx", "slice.onnx")  # what the card's example needs
# Headers that let WebAssembly use several threads.
THREADS = {
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "cross-origin",
}
LIMITS = """\
- Detail that was clipped to white or black cannot be recovered; such areas become an even tone.
- Whether a photo was meant to be dark or bright cannot be seen from its pixels: such photos are pulled towards the
  middle.
- Values are assumed to be sRGB.
"""


def data_section(training: dict[str, Any], sources: Path | None) -> str:
    """What the weights were trained on, with the licence of each collection.

    Raises:
        ValueError: the sources file lacks the columns ``source`` and ``licence``.
    """
    data = training.get("data", {})
    kind = (
        "pairs"
        if data.get("pairs")
        else "well-exposed photos, from which wrong exposures were simulated during training"
    )
    text = f"{data.get('photos', 'An unknown number of')} {kind}. Digest: `{data.get('sha256', 'unknown')}`.\n"
    if sources is None:
        return text
    with sources.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"source", "licence"} <= rows[0].keys():
        raise ValueError(f"{sources} needs the columns source and licence")
    # A source may name a revision after @: one line per collection.
    counts = Counter((row["source"].partition("@")[0], row["licence"]) for row in rows)
    lines = [(source, count, licence) for (source, licence), count in counts.most_common()]
    return f"{text}\n{markdown(('collection', 'photos', 'licence as stated there'), lines)}"


def front_matter(args: argparse.Namespace) -> str:
    """The part of the card that the Hub reads, as YAML (of which JSON is a subset).

    Raises:
        ValueError: the scores file lacks the columns ``psnr`` and ``ssim``.
    """
    entries: dict[str, Any] = {
        "license": args.licence,
        "library_name": "expcorr",
        "pipeline_tag": "image-to-image",
        "tags": [*TAGS, "safetensors", *(["onnx"] if args.onnx else [])],
        "metrics": ["psnr", "ssim"],
    }
    if args.datasets:
        entries["datasets"] = args.datasets
    if args.scores:
        with args.scores.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        if not rows or not {"psnr", "ssim"} <= rows[0].keys():
            raise ValueError(f"{args.scores} needs the columns psnr and ssim, as expcorr evaluate --csv writes them")
        values = {name: sum(float(row[name]) for row in rows) / len(rows) for name in ("psnr", "ssim")}
        result = {
            "task": {"type": "image-to-image", "name": "Exposure correction"},
            "dataset": {"name": f"{len(rows)} pairs", "type": args.scores.stem},
            "metrics": [{"type": name, "value": round(value, 4)} for name, value in values.items()],
        }
        entries["model-index"] = [{"name": args.repo_id.split("/")[-1], "results": [result]}]
    return _yaml(entries)


def _yaml(entries: dict[str, Any]) -> str:
    return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in entries.items())


def onnx_section(repository: str) -> str:
    """How to use the files in ``onnx/``."""
    return f"""\
## Without PyTorch

`onnx/model.onnx` finds the correction on a small copy of the photo (`photo`: float32, 1 x 3 x h x w, sRGB, 0..1, the
larger side at most 512 pixels): a bilateral `grid`, and the copy `corrected`. `onnx/slice.onnx` applies the grid to
rows of the photo at any size; `place` is the first row, and the photo's height. `model_fp16.onnx` is smaller, with
weights in float16. `fit.onnx` finds the grid between copies `before` and `after`, for photos in other colour spaces.

From version 1.29 on, ONNX Runtime reports to its makers what it is used for, unless the variable
`ORT_DISABLE_TELEMETRY` is 1 before it is imported.

```python
import numpy as np
import onnxruntime as ort
from huggingface_hub import hf_hub_download
from PIL import Image, ImageOps


def tensor(image):
    return np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255


model, slicing = (
    ort.InferenceSession(hf_hub_download("{repository}", f"onnx/{{name}}.onnx")) for name in ("model", "slice")
)
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
small = photo.copy()
small.thumbnail((512, 512), Image.Resampling.BILINEAR, reducing_gap=None)
[grid] = model.run(["grid"], {{"photo": tensor(small)}})
before, place = tensor(photo), np.array([0, photo.height])
[corrected] = slicing.run(None, {{"photo": before, "grid": grid, "place": place}})
corrected = np.minimum(corrected, before.max(1, keepdims=True).clip(253 / 255))  # keeps highlights
pixels = (corrected[0].transpose(1, 2, 0) * 255).round().astype(np.uint8)
Image.fromarray(pixels).save("photo_corrected.png")
```

In a browser, with [onnxruntime-web](https://www.npmjs.com/package/onnxruntime-web):

```js
const address = "https://huggingface.co/{repository}/resolve/main/onnx/model_fp16.onnx";
const model = await ort.InferenceSession.create(address);
// values: Float32Array, all reds, then all greens, then all blues, 0..1
const photo = new ort.Tensor("float32", values, [1, 3, height, width]);
const {{ grid, corrected }} = await model.run({{ photo }});
```
"""


def space_card(args: argparse.Namespace) -> str:
    """The README.md of a Space."""
    entries: dict[str, Any] = {
        "title": "Exposure Correction",
        "emoji": "\N{LAST QUARTER MOON SYMBOL}",
        "colorFrom": "yellow",
        "colorTo": "indigo",
        "sdk": "static",
        "app_file": "index.html",
        "license": args.licence,
        "short_description": "Corrects photos in your browser; nothing is uploaded",
        "custom_headers": THREADS,
    }
    if args.models:
        entries["models"] = args.models
    return f"""\
---
{_yaml(entries)}
---

# Exposure Correction

Drop a photo that is too dark or too bright and see it corrected. The page does that on your own device: no photo
leaves it.
"""


def model_card(args: argparse.Namespace) -> str:
    """The README.md of the repository.

    Raises:
        ValueError: the weights file or the sources file is not valid.
    """
    metadata = read_metadata(args.weights)
    training = metadata["training"]
    parameters = load_weights(args.weights).parameter_count()
    pictures = "\n".join(f"![{path.stem.replace('_', ' ')}](pictures/{path.name})" for path in args.pictures)
    metrics = args.metrics.read_text("utf-8").strip() if args.metrics else "Not evaluated."
    limits = args.limits.read_text("utf-8") if args.limits else LIMITS
    made = {key: training[key] for key in ("commit", "seconds", "metrics", "arguments", "init") if key in training}
    return f"""\
---
{front_matter(args)}
---

# {args.repo_id.split("/")[-1]}

Corrects photos that were exposed wrongly: too bright, too dark, or both in different places. A network of four U-Nets
over a Laplacian pyramid ({parameters:,} parameters), after "Learning Multi-Scale Photo Exposure Correction" (Afifi,
Derpanis, Ommer, Brown, [CVPR 2021]({PAPER})), trained from scratch.

{pictures}

## How to use

```sh
expcorr correct photo.jpg --weights {args.weights.name}
```

```python
import expcorr_core as ec

path = ec.download_weights("{args.repo_id}", "{args.weights.name}", sha256="{digest(args.weights)}")
corrector = ec.Corrector.load(path)
ec.correct("photo.jpg", corrector=corrector)  # writes photo_corrected.jpg
corrected = corrector(image)  # a tensor (B, 3, H, W), 0..1, any size
```

{onnx_section(args.repo_id) if args.onnx else ""}
## Results

{metrics}

## Limits

{limits.strip()}

## Data

{data_section(training, args.sources).strip()}

## How it was made

```json
{json.dumps({**made, "architecture": metadata["architecture"]}, indent=2)}
```
"""


def gather(args: argparse.Namespace, folder: Path) -> list[Path]:
    """Put everything that is uploaded into a folder; return its files.

    Raises:
        ValueError: the page or the ONNX files are not there.
    """
    if args.space:
        if not (args.site / "files.json").is_file():
            raise ValueError(f"{args.site} does not hold the page; make it with: npm --prefix web/app run build")
        shutil.copytree(args.site, folder, dirs_exist_ok=True)
        (folder / "README.md").write_text(space_card(args), "utf-8")
        return sorted(path for path in folder.rglob("*") if path.is_file())
    (folder / "README.md").write_text(model_card(args), "utf-8")
    shutil.copy(args.weights, folder / args.weights.name)
    for path in args.pictures:
        (folder / "pictures").mkdir(exist_ok=True)
        shutil.copy(path, folder / "pictures" / path.name)
    if args.onnx:
        missing = [name for name in ONNX if not (args.onnx / name).is_file()]
        if missing:
            raise ValueError(f"{args.onnx} lacks {' and '.join(missing)}; export.py WEIGHTS FOLDER --onnx makes them")
        (folder / "onnx").mkdir()
        for path in args.onnx.glob("*.onnx"):
            shutil.copy(path, folder / "onnx" / path.name)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def upload(args: argparse.Namespace, folder: Path, names: Sequence[str]) -> str:
    """Create the repository if it does not exist, upload the folder in one commit, and return the commit's URL.

    Raises:
        ValueError: files with these names exist there already, or the Hub refuses the request.
    """
    api = HfApi()
    repository, kind = (args.space, "space") if args.space else (args.repo_id, "model")
    try:
        try:
            there = set(api.list_repo_files(repository, repo_type=kind)) & set(names)
        except RepositoryNotFoundError:
            there = set()
        if there and not args.overwrite:
            raise ValueError(
                f"{repository} already contains {', '.join(sorted(there))}; add --overwrite to replace them"
            )
        static = "static" if args.space else None
        api.create_repo(repository, repo_type=kind, space_sdk=static, private=args.private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository,
            repo_type=kind,
            folder_path=folder,
            commit_message=args.message or ("Upload the page" if args.space else "Upload weights and model card"),
            # Files of an earlier page, which this one does not have.
            delete_patterns="*" if args.space and args.overwrite else None,
        )
        return str(done.commit_url)
    except LocalTokenNotFoundError as error:
        raise ValueError("no Hub token was found; run `hf auth login` or set HF_TOKEN") from error
    except HfHubHTTPError as error:
        code = error.response.status_code
        hint = "check the token's rights" if code in (401, 403) else "try again later"
        raise ValueError(f"the Hub refused {repository} ({code}); {hint}") from error
    except NETWORK_ERRORS as error:
        raise ValueError(f"the Hub cannot be reached ({error}); connect to the network and try again") from error


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits with a one-sentence message if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="?", help="safetensors file")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--repo-id", metavar="OWNER/NAME", help="repository of the weights")
    place.add_argument("--space", metavar="OWNER/NAME", help="Space of the page, with --site and --models")
    parser.add_argument(
        "--site",
        type=Path,
        default=ROOT / "web" / "app" / "dist",
        help="the page (default: where build.mjs writes it)",
    )
    parser.add_argument(
        "--models", nargs="*", default=[], metavar="OWNER/NAME", help="repositories that the Space links to"
    )
    parser.add_argument(
        "--onnx", type=Path, metavar="DIR", help="with --repo-id: model.onnx, slice.onnx and so on, by export.py --onnx"
    )
    parser.add_argument("--metrics", type=Path, metavar="MD", help="table.md, written by evaluate.py")
    parser.add_argument(
        "--scores", type=Path, metavar="CSV", help="written by expcorr evaluate --csv, for the card's model-index"
    )
    parser.add_argument(
        "--datasets", nargs="*", default=[], metavar="NAME", help="data sets on the Hub that it was trained on"
    )
    parser.add_argument("--sources", type=Path, metavar="CSV", help="columns source and licence, one row per photo")
    parser.add_argument(
        "--limits", type=Path, metavar="MD", help="known weaknesses of the weights (default: limits of the method)"
    )
    parser.add_argument("--pictures", type=Path, nargs="*", default=[], help="pictures for the card, before and after")
    parser.add_argument("--licence", default="apache-2.0", help="licence, as the Hub names it (default apache-2.0)")
    parser.add_argument("--message", help="commit message")
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist already")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be uploaded, without contacting the Hub"
    )
    args = parser.parse_args(argv)
    option, name = ("--space", args.space) if args.space else ("--repo-id", args.repo_id)
    if name.count("/") != 1:
        parser.error(f"{option} must have the form OWNER/NAME; got {name}")
    if bool(args.weights) == bool(args.space):
        parser.error("--repo-id needs a weights file, and --space takes none")
    if args.onnx and args.space:
        parser.error("--onnx goes with --repo-id: the page has its models already")
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            files = gather(args, folder)
            for path in files:
                print(
                    f"{path.relative_to(folder).as_posix():<40} {path.stat().st_size:>12,} bytes  {digest(path)[:16]}"
                )
            if args.dry_run:
                print(f"\n{(folder / 'README.md').read_text('utf-8')}")
                return
            print(f"uploaded: {upload(args, folder, [p.relative_to(folder).as_posix() for p in files])}")
    except (ValueError, OSError) as error:
        sys.exit(f"publish.py: {str(error).splitlines()[0]}")


if __name__ == "__main__":
    main()
