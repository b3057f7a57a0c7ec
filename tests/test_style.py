"""The project: lint, types, and the contents of the wheel and of ComfyUI's pack."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def check(*command: object, cwd: Path = ROOT) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *map(str, command)], cwd=cwd, check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


def sources() -> list[Path]:
    folders = ("expcorr_core", "nodes", "training", "benchmarks", "tests", "docs")
    return [ROOT / "__init__.py", *(p for folder in folders for p in sorted((ROOT / folder).glob("**/*.py")))]


def test_ruff() -> None:
    pytest.importorskip("ruff", reason="ruff comes with the dev extra")
    check("ruff", "check", ".")
    check("ruff", "format", "--check", ".")


@pytest.mark.slow
def test_mypy(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy comes with the dev extra")
    check("mypy")
    # The nodes import the core relatively, as a part of the pack, whatever its folder is called.
    (tmp_path / "pack").symlink_to(ROOT)
    config = ROOT / "pyproject.toml"
    check(
        "mypy", "--config-file", config, "--no-explicit-package-bases", "pack/nodes", "pack/__init__.py", cwd=tmp_path
    )


@pytest.mark.parametrize("path", sources(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_sources_are_ascii(path: Path) -> None:
    assert path.read_bytes().isascii()  # some Windows set-ups read them in another encoding


def test_no_merge_was_left_half_done() -> None:
    kinds = (".py", ".md", ".toml", ".json", ".js", ".yml", ".css")
    pages = [p for p in ROOT.glob("**/*") if p.suffix in kinds and not {".venv", "node_modules", "dist"} & {*p.parts}]
    assert len(pages) > 200
    for page in pages:
        assert not re.search(r"^(<{7}|>{7}) ", page.read_text("utf-8"), re.M), page


def test_the_comfy_registry_reads_the_classifiers() -> None:
    """Where it does not know one of the environments, it takes no GPU, and likewise no system."""
    found = re.findall(
        r'^    "((?:Environment|Operating System) :: .+)",$', (ROOT / "pyproject.toml").read_text(), re.M
    )
    assert found == ["Environment :: GPU :: NVIDIA CUDA", "Operating System :: OS Independent"]


def test_layers_do_not_import_upwards() -> None:
    for path in sources():
        text = path.read_text()
        folder = path.relative_to(ROOT).parts[0]
        if folder == "expcorr_core":
            assert not re.search(r"^\s*(from|import) (nodes|training|comfy|folder_paths)", text, re.M), path
            depth = len(path.relative_to(ROOT).parts) - 1
            assert not re.search(rf"^\s*from \.{{{depth + 1},}}", text, re.M), path  # out of the package
        if folder == "nodes":
            assert not re.search(r"^\s*(from|import) (\.\.)?training", text, re.M), path
        if folder == "training":
            assert not re.search(r"^\s*(from|import) (nodes|comfy|folder_paths)", text, re.M), path


# The rooms of the core, floor by floor: each may import from those below it, none from beside or above.
FLOORS = (
    {"files", "machine", "settings", "image"},
    {"bilateral", "method"},
    {"hub", "photos"},
    {"ort"},
    {"corrections", "pretrained"},
    {"corrector"},
    {"runtimes", "series"},
    {"batch", "correcting", "data", "video"},
    {"serve"},
    {"commands"},
    {"cli"},
    {"__main__"},
)


def test_rooms_stand_on_their_floors() -> None:
    core = ROOT / "expcorr_core"
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    for path in core.rglob("*.py"):
        parts = path.relative_to(core).with_suffix("").parts
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not node.level or parts == ("__init__",):
                continue
            base = [*parts[: len(parts) - node.level], *(node.module or "").split(".")]
            rooms = [base[0]] if base[0] else [alias.name for alias in node.names]
            for room in rooms:
                if room not in (parts[0], "__version__"):
                    assert floor[room] < floor[parts[0]], f"{'/'.join(parts)} imports {room}"


def test_root_imports_without_comfyui_or_torch() -> None:
    """ComfyUI does not start more slowly, and other tools can import the root."""
    code = (
        "import importlib.util, sys;"
        f"spec = importlib.util.spec_from_file_location('pack', {str(ROOT / '__init__.py')!r},"
        f" submodule_search_locations=[{str(ROOT)!r}]);"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module);"
        "assert callable(module.comfy_entrypoint); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_wheel_carries_core_weights_and_training(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the wheel is built with hatchling")
    check("hatchling", "build", "-t", "wheel", "-d", tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(n for n in names if n.endswith("METADATA"))).decode()
    assert "expcorr_weights/expcorr-base-fp16.safetensors" in names
    assert "expcorr_core/py.typed" in names
    assert {"index.html", "ui/main.js", "engine/server_engine.js"} <= {
        name.removeprefix("expcorr_page/") for name in names
    }
    page = (ROOT / "web" / "app" / "index.html").read_text("utf-8")
    for part in re.findall(r'(?:src|href|data-example)="([^"]+)"', page):
        assert f"expcorr_page/{part}" in names
    assert {"expcorr_training/train.py", "expcorr_training/presets/paper.json"} <= set(names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {
        *("expcorr_core", "expcorr_page", "expcorr_training", "expcorr_weights", "expcorr")
    }
    assert not re.search(r"^Requires-Dist: (?!.*extra ==)", metadata, re.M)  # nothing that ComfyUI brings


def test_ci_runs_the_readmes_test_command() -> None:
    commands = re.findall(r"^python3 -m venv .*$", (ROOT / "README.md").read_text(), re.M)
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci" / "run").read_text()


def test_ci_tries_the_lowest_and_the_newest_versions() -> None:
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    assert "resolution: [lowest-direct, highest]" in workflow
    assert "run: .ci/versions ${{ matrix.resolution }}" in workflow
    [lowest] = re.findall(r'^requires-python = ">=(3\.\d+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert f'python: ["{lowest}", ' in workflow


def test_the_pack_does_without_what_it_leaves_out() -> None:
    """`.comfyignore` keeps parts of the core from ComfyUI's users; nothing else may import them."""
    lines = (ROOT / ".comfyignore").read_text("utf-8").splitlines()
    left_out = [ROOT / line.lstrip("/") for line in lines if line[:1] not in "#"]
    assert all(path.exists() for path in left_out)
    names = {path.stem for path in left_out if path.suffix == ".py"}
    assert names
    for path in [*(ROOT / "expcorr_core").rglob("*.py"), *(ROOT / "nodes").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and path not in left_out:
                assert (node.module or "").rpartition(".")[2] not in names, path


def test_comfyui_loads_no_script_of_the_page() -> None:
    """Its interface runs every script below the folder that the pack names as its own."""
    [folder] = re.findall(r'^WEB_DIRECTORY = "\./(.+?)"', (ROOT / "__init__.py").read_text("utf-8"), re.M)
    assert (ROOT / folder / "docs" / "ExpCorr_Correct.md").is_file()
    assert not [*(ROOT / folder).rglob("*.js")]
    assert "/web/app" in (ROOT / ".comfyignore").read_text("utf-8").splitlines()


def test_what_takes_many_arguments_takes_them_by_name() -> None:
    """A call with many positional arguments is hard to read, and inserting one would break it."""
    for path in (path for folder in ("expcorr_core", "training") for path in sorted((ROOT / folder).rglob("*.py"))):
        if path.stem in ("numba_kernels", "slicing_triton"):  # compiled, which has only positional arguments
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                assert len(node.args.args) <= 7, f"{path.name}: {node.name}"
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                fields = [part.annotation for part in node.body if isinstance(part, ast.AnnAssign)]
                names = [ast.unparse(field) for field in fields]
                positional = names.index("KW_ONLY") if "KW_ONLY" in names else len(names)
                told = any("kw_only=True" in ast.unparse(decorator) for decorator in node.decorator_list)
                assert told or positional <= 5, f"{path.name}: {node.name}"
