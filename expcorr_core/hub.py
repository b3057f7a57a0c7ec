"""Weights from the Hugging Face Hub, through its own client and cache."""

from __future__ import annotations

import re
from pathlib import Path

from .files import digest
from .method.weights_file import DEFAULT_NAME, WeightsError, read_metadata

# "owner/name" of the repository with the published weights, set by whoever publishes them; none yet.
REPOSITORY = ""
PATIENCE = 5.0  # seconds, for the Hub's first answer
_NO_NAME = "{!r} cannot be the name of a repository; name one as owner/name"


def misnamed(repository: str) -> str:
    """One sentence on why this cannot be a repository's name; empty if it can."""
    return "" if re.fullmatch(r"[^/\s]+/[^/\s]+", repository) else _NO_NAME.format(repository)


def download_weights(
    repository: str | None = None,
    filename: str = DEFAULT_NAME,
    revision: str | None = None,
    sha256: str | None = None,
) -> Path:
    """Download a weights file, or take it from the cache if it is there already.

    The environment variables of the Hub's client apply: ``HF_ENDPOINT``, ``HF_HUB_CACHE``, ``HF_HUB_OFFLINE`` and
    ``HF_TOKEN``.
    Without a connection, a file in the cache is used.

    Args:
        repository: ``owner/name``; None takes :data:`REPOSITORY`.
        filename: the file's path inside the repository.
        revision: branch, tag or commit; None takes the main branch.
        sha256: checksum that the file must have.

    Returns:
        The file in the cache. Do not write to it.

    Raises:
        WeightsError: the file cannot be obtained, its checksum differs (it is then removed from the cache), or it is
            not a weights file of this program, see :func:`~expcorr_core.method.weights_file.read_metadata`.
    """
    repository = repository or REPOSITORY
    if not repository:
        raise WeightsError("no repository given to download weights from; give one as owner/name")
    if wrong := misnamed(repository):
        raise WeightsError(wrong)
    if ".." in Path(filename).parts:
        raise WeightsError(f"{filename!r} cannot be a file in a repository; give its path inside the repository")
    if sha256 and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise WeightsError(f"{sha256} is not a SHA-256 checksum; give its 64 hexadecimal digits")
    path = _fetch(repository, filename, revision or "main")
    try:
        if sha256 and (found := digest(path)) != sha256.lower():
            for link in (path.resolve(), path):
                link.unlink(missing_ok=True)
            raise WeightsError(
                f"{path.name} has the checksum {found} instead of {sha256} and was removed from the cache; "
                "download it again, or check the checksum that you gave"
            )
    except OSError as error:
        raise WeightsError(f"{path} cannot be read or removed ({error.strerror}); check its permissions") from error
    read_metadata(path)
    return path


def _fetch(repository: str, filename: str, revision: str) -> Path:
    try:
        from huggingface_hub import constants, errors, get_hf_file_metadata, hf_hub_download, hf_hub_url
    except ModuleNotFoundError as error:
        raise WeightsError("downloading weights needs huggingface_hub; run pip install huggingface-hub") from error
    # Network errors derive from a base that differs between the client's versions; Xet's are RuntimeErrors.
    failures: tuple[type[Exception], ...] = (OSError, ValueError, RuntimeError, *errors.HfHubHTTPError.__bases__)
    hub, unreachable = constants.ENDPOINT, ""
    try:
        # Try once: for a file that is not in the cache, hf_hub_download would retry for 24 s.
        get_hf_file_metadata(hf_hub_url(repository, filename, revision=revision), timeout=PATIENCE)
    except errors.HFValidationError as error:
        raise WeightsError(_NO_NAME.format(repository)) from error
    except errors.RevisionNotFoundError as error:
        reason = f"repository {repository} has no revision {revision}; name one of its branches, tags or commits"
        raise WeightsError(reason) from error
    except errors.EntryNotFoundError as error:
        reason = f"repository {repository} has no file {filename} in revision {revision}; name one that it has"
        raise WeightsError(reason) from error
    except errors.OfflineModeIsEnabled:
        unreachable = "HF_HUB_OFFLINE forbids downloading it; unset HF_HUB_OFFLINE"
    except failures as error:
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if status in (401, 403, 404):  # the Hub does not reveal which private repositories exist
            reason = f"{hub} has no repository {repository}, or you have no access to it; check its name, or log in"
            raise WeightsError(f"{reason} with hf auth login") from error
        what = f"answers with status {status}; try again later" if status else "cannot be reached; check the network"
        unreachable = f"{hub} {what}"
    try:
        return Path(hf_hub_download(repository, filename, revision=revision, local_files_only=bool(unreachable)))
    except errors.LocalEntryNotFoundError as error:
        why = unreachable or f"{hub} does not answer like a Hub; check HF_ENDPOINT and your proxy"
        raise WeightsError(f"{filename} of {repository} is not in the cache and {why}") from error
    except failures as error:
        # Local errors have an errno; the client's own network errors have none.
        if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError | TimeoutError):
            reason = f"cannot write to the cache {constants.HF_HUB_CACHE} ({error.strerror})"
            raise WeightsError(f"{reason}; make room or set HF_HUB_CACHE") from error
        raise WeightsError(f"{filename} of {repository} did not arrive; check the network and try again") from error
