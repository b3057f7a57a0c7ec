"""The model card, uploaded to a Hub and read back."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import hub_server
import numpy as np
import pytest
from hub_server import TOKEN, HubServer
from numpy.typing import NDArray
from PIL import Image

from expcorr_core.cli import main as cli
from expcorr_core.method.network import ExposureNetwork
from expcorr_core.method.weights import load_weights, save_weights
from training import publish

hub = hub_server.hub  # the fixture
REPOSITORY = "tester/mended-photos"
ROOT = Path(__file__).parent.parent


@pytest.fixture
def command(tmp_path: Path, small_network: ExposureNetwork) -> list[str]:
    """With scores, sources and a picture."""
    training = {"data": {"photos": 3, "sha256": "abc", "pairs": False}, "commit": "c0ffee", "arguments": {"seed": 7}}
    save_weights(tmp_path / "w.safetensors", small_network, training)
    (tmp_path / "table.md").write_text("PSNR / SSIM\n\n| all | 20.1 / 0.85 |\n")
    (tmp_path / "photos.csv").write_text("source,licence\na/b@1,CC0\na/b@2,CC0\nc/d@1,CC BY 4.0\n")
    Image.new("RGB", (8, 8)).save(tmp_path / "before_after.jpg")
    options = {"--metrics": "table.md", "--sources": "photos.csv", "--pictures": "before_after.jpg"}
    named = [part for key, name in options.items() for part in (key, str(tmp_path / name))]
    return [str(tmp_path / "w.safetensors"), "--repo-id", REPOSITORY, *named]


def test_dry_run_shows_the_card_and_contacts_nobody(
    command: list[str], hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    publish.main([*command, "--dry-run"])
    out = capsys.readouterr().out
    for part in (
        "README.md", "pictures/before_after.jpg", 'license: "apache-2.0"',
        'library_name: "expcorr"', 'metrics: ["psnr", "ssim"]', "arxiv.org/abs/2003.11596",
        "# mended-photos", "| all | 20.1 / 0.85 |",
        "| a/b | 2 | CC0 |", "| c/d | 1 | CC BY 4.0 |", '"seed": 7', "c0ffee", "## Limits", "Detail that was clipped",
        f'ec.download_weights("{REPOSITORY}", "w.safetensors", sha256="{publish.digest(Path(command[0]))}")',
        "![before after](pictures/before_after.jpg)",
    ):  # fmt: skip
        assert part in out, part
    assert not hub.asked


class Uploads(publish.HfApi):
    """The client, whose uploads go straight to a :class:`HubServer`: how the real client sends them is not tested."""

    hub: HubServer

    def list_repo_files(self, repo_id: str, *, repo_type: str) -> list[str]:
        if (repo_id, "main") not in self.hub.files:
            raise publish.RepositoryNotFoundError("none", response=SimpleNamespace(headers={}, request=None))
        return list(self.hub.files[repo_id, "main"])

    def create_repo(
        self, repo_id: str, *, repo_type: str, space_sdk: str | None, private: bool, exist_ok: bool
    ) -> None:
        assert exist_ok
        assert (repo_type, space_sdk) in (("model", None), ("space", "static"))
        self.hub.files.setdefault((repo_id, "main"), {})

    def upload_folder(
        self, *, repo_id: str, repo_type: str, folder_path: Path, commit_message: str, delete_patterns: str | None
    ) -> SimpleNamespace:
        paths = [path for path in folder_path.rglob("*") if path.is_file()]
        found = {path.relative_to(folder_path).as_posix(): path.read_bytes() for path in paths}
        kept = {} if delete_patterns == "*" else self.hub.files[repo_id, "main"]
        self.hub.files[repo_id, "main"] = kept | found
        return SimpleNamespace(commit_url=f"{self.hub.url}/{repo_id}/commit/1 ({commit_message})")


@pytest.fixture
def uploads(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    monkeypatch.setattr(publish, "HfApi", type("Api", (Uploads,), {"hub": hub}))
    return hub


def test_what_is_published_can_be_downloaded(
    command: list[str], uploads: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = uploads
    publish.main(command)
    assert f"uploaded: {hub.url}/{REPOSITORY}/commit/1 (Upload weights" in capsys.readouterr().out
    files = hub.files[REPOSITORY, "main"]
    assert {"README.md", "w.safetensors", "pictures/before_after.jpg"} <= set(files)
    assert files["w.safetensors"] == Path(command[0]).read_bytes()

    digest = publish.digest(Path(command[0]))
    assert cli(["download", REPOSITORY, "--file", "w.safetensors", "--sha256", digest]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert load_weights(path).parameter_count() == load_weights(Path(command[0])).parameter_count()
    assert cli(["download", REPOSITORY, "--file", "w.safetensors", "--sha256", "0" * 64]) == 1
    assert cli(["download"]) == 1
    assert "no repository given" in capsys.readouterr().err

    with pytest.raises(SystemExit, match=r"already contains README\.md, .*; add --overwrite"):
        publish.main(command)
    publish.main([*command, "--overwrite", "--licence", "mit"])
    assert b'license: "mit"' in hub.files[REPOSITORY, "main"]["README.md"]


def test_refusals_are_one_sentence(
    command: list[str], hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.status = 403
    with pytest.raises(SystemExit, match=r"the Hub refused tester/mended-photos \(403\); check the token's rights$"):
        publish.main(command)
    hub.status = None
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(SystemExit, match="token"):
        publish.main(command)
    (tmp_path / "photos.csv").write_text("name\nx\n")
    with pytest.raises(SystemExit, match="needs the columns source and licence"):
        publish.main([*command, "--dry-run"])
    with pytest.raises(SystemExit, match="does not exist"):
        publish.main([str(tmp_path / "none.safetensors"), "--repo-id", REPOSITORY, "--dry-run"])
    with pytest.raises(SystemExit):
        publish.main([command[0], "--repo-id", "nameless", "--dry-run"])
    hub.stop()
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    (tmp_path / "photos.csv").write_text("source,licence\na/b,CC0\n")
    with pytest.raises(SystemExit, match=r"^publish.py: [^\n]+$"):
        publish.main(command)


def test_scores_go_into_the_model_index(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pairs.csv").write_text("name,groups,psnr,ssim\na,all,20.0,0.8\nb,all,22.0,0.9\n")
    publish.main([*command, "--scores", str(tmp_path / "pairs.csv"), "--datasets", "a/b", "--dry-run"])
    out = capsys.readouterr().out
    assert 'datasets: ["a/b"]' in out
    assert '"metrics": [{"type": "psnr", "value": 21.0}, {"type": "ssim", "value": 0.85}]' in out
    with pytest.raises(SystemExit, match="needs the columns psnr and ssim"):
        publish.main([*command, "--scores", str(tmp_path / "photos.csv"), "--dry-run"])


def front_matter(card: bytes) -> dict[str, object]:
    """As YAML, whose entries are JSON here."""
    lines = card.decode().split("---\n")[1].splitlines()
    return {key: json.loads(text) for key, text in (line.split(": ", 1) for line in lines)}


def test_onnx_files_go_with_the_weights(command: list[str], uploads: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"model")
    with pytest.raises(SystemExit, match=r"made lacks slice\.onnx; export\.py WEIGHTS FOLDER --onnx makes them"):
        publish.main([*command, "--onnx", str(folder)])
    (folder / "slice.onnx").write_bytes(b"slice")
    (folder / "model_fp16.onnx").write_bytes(b"half")
    (folder / "notes.txt").write_text("none")
    publish.main([*command, "--onnx", str(folder)])
    files = uploads.files[REPOSITORY, "main"]
    assert {name for name in files if name.startswith("onnx/")} == {
        "onnx/model.onnx", "onnx/slice.onnx", "onnx/model_fp16.onnx",
    }  # fmt: skip
    assert "onnx" in front_matter(files["README.md"])["tags"]  # type: ignore[operator]
    assert f"huggingface.co/{REPOSITORY}/resolve/main/onnx/model_fp16.onnx" in files["README.md"].decode()
    publish.main([*command, "--overwrite"])
    assert b"onnxruntime" not in uploads.files[REPOSITORY, "main"]["README.md"]


def test_the_cards_example_corrects_as_the_command_line(
    command: list[str], uploads: HubServer, tmp_path: Path, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="the example needs onnxruntime")
    models = tmp_path / "models"
    models.mkdir()
    for name, bundled in (("model", "model_fp16"), ("slice", "slice")):  # with the same inputs and outputs
        shutil.copy(ROOT / "weights" / "onnx" / f"{bundled}.onnx", models / f"{name}.onnx")
    publish.main([*command, "--onnx", str(models)])
    [code] = re.findall(
        r"```python\n(import numpy.*?)```", uploads.files[REPOSITORY, "main"]["README.md"].decode(), re.S
    )
    monkeypatch.chdir(tmp_path)
    Image.fromarray(scene).resize((900, 600)).save("photo.jpg", quality=95)
    exec(code, {})
    assert cli(["correct", "photo.jpg", "-o", "wanted.png", "--quiet"]) == 0
    made, wanted = (np.asarray(Image.open(name)).astype(int) for name in ("photo_corrected.png", "wanted.png"))
    assert np.abs(made - wanted).max() <= 3  # the small copy was rounded to 8 bits


def test_the_page_becomes_a_space(uploads: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = tmp_path / "site"
    command = ["--space", "tester/page", "--site", str(site), "--models", "tester/fast", "tester/paper"]
    with pytest.raises(SystemExit, match="site does not hold the page; make it with: npm --prefix web/app run build"):
        publish.main(command)
    (site / "ui").mkdir(parents=True)
    for name in ("index.html", "files.json", "ui/main.js"):
        (site / name).write_text(name)
    publish.main([*command, "--dry-run"])
    out = capsys.readouterr().out
    assert "ui/main.js" in out
    assert 'title: "Exposure Correction"' in out
    assert not uploads.files
    publish.main(command)
    assert "tester/page/commit/1 (Upload the page)" in capsys.readouterr().out
    files = uploads.files["tester/page", "main"]
    assert files.keys() == {"README.md", "index.html", "files.json", "ui/main.js"}
    card = front_matter(files["README.md"])
    assert (card["sdk"], card["license"], card["models"]) == ("static", "apache-2.0", ["tester/fast", "tester/paper"])
    assert card["custom_headers"] == publish.THREADS
    assert len(str(card["short_description"])) <= 60
    with pytest.raises(SystemExit, match=r"tester/page already contains README\.md, .*; add --overwrite"):
        publish.main(command)
    (site / "ui" / "main.js").rename(site / "ui" / "other.js")
    publish.main([*command, "--overwrite"])
    assert "ui/main.js" not in uploads.files["tester/page", "main"]
    for wrong in (
        ["w.safetensors", "--space", "tester/page"], ["--repo-id", REPOSITORY], ["--space", "page"],
        ["--space", "tester/page", "--onnx", "."], ["w.safetensors"],
    ):  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            publish.main(wrong)
        assert ended.value.code == 2
