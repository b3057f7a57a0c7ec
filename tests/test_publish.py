"""The model card, uploaded to a Hub and read back."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import hub_server
import pytest
from hub_server import TOKEN, HubServer
from PIL import Image

from expcorr_core.cli import main as cli
from expcorr_core.method.network import ExposureNetwork
from expcorr_core.method.weights import load_weights, save_weights
from training import publish

hub = hub_server.hub  # the fixture
REPOSITORY = "tester/mended-photos"


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

    def list_repo_files(self, repo_id: str) -> list[str]:
        if (repo_id, "main") not in self.hub.files:
            raise publish.RepositoryNotFoundError("none", response=SimpleNamespace(headers={}, request=None))
        return list(self.hub.files[repo_id, "main"])

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        assert exist_ok
        self.hub.files.setdefault((repo_id, "main"), {})

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> SimpleNamespace:
        paths = [path for path in folder_path.rglob("*") if path.is_file()]
        found = {path.relative_to(folder_path).as_posix(): path.read_bytes() for path in paths}
        self.hub.files[repo_id, "main"] |= found
        return SimpleNamespace(commit_url=f"{self.hub.url}/{repo_id}/commit/1 ({commit_message})")


def test_what_is_published_can_be_downloaded(
    command: list[str], hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(publish, "HfApi", type("Api", (Uploads,), {"hub": hub}))
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
