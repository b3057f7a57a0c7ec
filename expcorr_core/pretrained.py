"""The Hugging Face Hub's model interface: ``from_pretrained``, ``save_pretrained``, ``push_to_hub``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .hub import download_weights, misnamed
from .method.weights_file import DEFAULT_NAME, WeightsError

if TYPE_CHECKING:
    from .method.weights import Network

PAPER = "https://arxiv.org/abs/2003.11596"
TAGS = ["exposure-correction", "image-enhancement", "low-light", "photo", "comfyui"]
CONFIG = "config.json"

try:
    from huggingface_hub import PyTorchModelHubMixin
except ImportError:

    class PyTorchModelHubMixin:  # type: ignore[no-redef]
        """Stands in where the Hub's client is missing."""

        def __init_subclass__(cls, **_: Any) -> None:
            super().__init_subclass__()

        def save_pretrained(self, *_: Any, **__: Any) -> None:
            """Raise WeightsError."""
            raise WeightsError("this needs huggingface_hub; run pip install huggingface-hub")

        push_to_hub = save_pretrained


class Pretrained(
    PyTorchModelHubMixin,
    library_name="expcorr",
    license="apache-2.0",
    paper_url=PAPER,
    pipeline_tag="image-to-image",
    tags=TAGS,
):
    """What a model needs to be published and loaded again; for classes that have a ``network``."""

    network: Network

    @staticmethod
    def find_pretrained(name: str | Path, revision: str | None = None, filename: str = DEFAULT_NAME) -> Path:
        """The weights file in a local folder, or in a repository on the Hub.

        Raises:
            WeightsError: there is none, or it cannot be downloaded.
        """
        folder = Path(name)
        if not folder.is_dir():
            if folder.is_absolute() or str(name).startswith((".", "~")) or misnamed(str(name)):  # no repository's name
                raise WeightsError(f"there is no folder {name}; name one, or a repository as owner/name")
            return download_weights(str(name), filename, revision)
        if not (folder / filename).is_file():
            raise WeightsError(f"{folder} contains no {filename}; name a folder that save_pretrained wrote")
        return folder / filename

    def _save_pretrained(self, save_directory: Path) -> None:
        from .method.weights import save_weights

        save_weights(save_directory / DEFAULT_NAME, self.network, self.network.training_record)
        config = {
            "architecture": self.network.architecture.to_dict(),
            "normalised": self.network.normalised,
            "weights": DEFAULT_NAME,
        }
        (save_directory / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
