"""Weights from the Hugging Face Hub: downloaded once, resumed, checked, and kept in the Hub's own cache."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .files import digest
from .weights import DEFAULT_NAME, WeightsError, read_metadata

# "owner/name" of the repository with the published weights, set by whoever publishes them; there is none yet.
REPOSITORY = ""

ATTEMPTS = 3
PIECE = 1 << 20
SHA256 = re.compile("[0-9a-f]{64}")


def download_weights(
    repository: str | None = None,
    filename: str = DEFAULT_NAME,
    revision: str | None = None,
    sha256: str | None = None,
) -> Path:
    """Download a weights file, or take it from the cache if it is there already.

    The variables of the Hub's client hold: ``HF_ENDPOINT``, ``HF_HUB_CACHE``, ``HF_HUB_OFFLINE``, ``HF_TOKEN``.
    Without a connection a file in the cache does.

    Args:
        repository: ``owner/name``; None takes :data:`REPOSITORY`.
        filename: the file's path inside the repository.
        revision: branch, tag or commit; None takes the main branch.
        sha256: checksum that the file must have. The one that the Hub names is checked in any case, where the
            cache knows it.

    Returns:
        The file in the cache. Do not write to it.

    Raises:
        WeightsError: the file cannot be had, its checksum differs (then it is removed from the cache), or it is
            not one of this program, see :func:`~expcorr_core.weights.read_metadata`.
    """
    repository = repository or REPOSITORY
    if not repository:
        raise WeightsError("no repository is named to download weights from; name one as owner/name")
    sha256 = sha256 and sha256.lower()
    if sha256 and not SHA256.fullmatch(sha256):
        raise WeightsError(f"{sha256} is no SHA-256 checksum; give its 64 hexadecimal digits")
    path = _fetch(repository, filename, revision or None)
    _verify(path, sha256)
    read_metadata(path)
    return path


@contextmanager
def _small_pieces() -> Iterator[None]:
    """Let the client write what it received every :data:`PIECE` bytes.

    It resumes a broken connection after the last piece that it wrote. With its own pieces of 10 MiB a file of a few
    megabytes would start anew each time.
    """
    from huggingface_hub import constants

    before = constants.DOWNLOAD_CHUNK_SIZE
    constants.DOWNLOAD_CHUNK_SIZE = PIECE
    try:
        yield
    finally:
        constants.DOWNLOAD_CHUNK_SIZE = before


def _fetch(repository: str, filename: str, revision: str | None) -> Path:
    """Have the client download a file, unless it is in the cache."""
    try:
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ModuleNotFoundError as error:
        raise WeightsError("downloading weights needs huggingface_hub; run pip install huggingface-hub") from error
    # Errors of the network derive from a base that differs between the client's versions; Xet's are RuntimeErrors.
    failures: tuple[type[Exception], ...] = (OSError, ValueError, RuntimeError, *HfHubHTTPError.__bases__)
    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    # The client resumes where a connection ends or stalls, but gives up where it is reset.
    for attempt in range(ATTEMPTS):
        time.sleep(attempt)
        try:
            with _small_pieces():
                return Path(hf_hub_download(repository, filename, revision=revision, endpoint=endpoint))
        except failures as error:
            if reason := _reason(error, repository, filename, revision or "main", endpoint):
                raise WeightsError(reason) from error
            last = error
    try:
        return Path(hf_hub_download(repository, filename, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        raise WeightsError(
            f"{filename} of {repository} is not in the cache and the connection to {endpoint} failed {ATTEMPTS} times; "
            "check the network and try again"
        ) from last


def _reason(error: Exception, repository: str, filename: str, revision: str, endpoint: str) -> str:
    """What an error of the client means and what to do; empty if another attempt may help."""
    from huggingface_hub import constants, errors

    offline = isinstance(error, errors.LocalEntryNotFoundError)
    cause = error.__cause__ if offline else error
    status = getattr(getattr(cause, "response", None), "status_code", None)
    if isinstance(error, errors.HFValidationError):
        return f"{repository!r} cannot be the name of a repository; name one as owner/name"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"repository {repository} has no revision {revision}; name one of its branches, tags or commits"
    if isinstance(error, errors.EntryNotFoundError) and not offline:
        return f"repository {repository} has no file {filename} in revision {revision}; name one that it has"
    if status in (401, 403, 404):  # strangers and members are told differently that they may not see a repository
        return (
            f"{endpoint} has no repository {repository}, or you have no access to it; "
            "check its name, or log in with hf auth login"
        )
    if offline:
        missing = f"{filename} of {repository} is not in the cache and"
        if isinstance(cause, errors.OfflineModeIsEnabled):
            return f"{missing} HF_HUB_OFFLINE forbids to download it; unset HF_HUB_OFFLINE"
        if status:
            return f"{missing} {endpoint} answers with status {status}; try again later"
        if isinstance(cause, errors.FileMetadataError):
            return f"{missing} {endpoint} does not answer as a Hub does; check HF_ENDPOINT and your proxy"
        return f"{missing} {endpoint} cannot be reached; connect to the network and try again"
    if isinstance(error, ValueError):
        return f"{filename!r} cannot be a file of repository {repository}; give its path inside the repository"
    # Local trouble has a number; the client's own errors of the network have none.
    if isinstance(error, OSError) and error.errno and not isinstance(error, (ConnectionError, TimeoutError)):
        return f"cannot write to the cache {constants.HF_HUB_CACHE} ({error.strerror}); make room or set HF_HUB_CACHE"
    return ""


def _verify(path: Path, sha256: str | None) -> None:
    """Compare a file with the checksum wanted and with the Hub's; remove it from the cache if either differs."""
    # The cache links to files named by SHA-256 if they are large ones, in Git LFS. One link only: the next may lead
    # into a store whose names are other hashes.
    blob = path.parent / path.readlink() if path.is_symlink() else path
    try:
        found = digest(path)
        wanted = [name for name in (sha256, blob.name) if name and SHA256.fullmatch(name) and name != found]
        for link in (path.resolve(), blob, path) if wanted else ():
            link.unlink(missing_ok=True)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read or removed ({error.strerror}); check its permissions") from error
    if wanted:
        raise WeightsError(
            f"{path.name} has the checksum {found} instead of {wanted[0]} and was removed from the cache; "
            "download it again, or check the checksum that you gave"
        )
