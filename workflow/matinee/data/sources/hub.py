"""The Hugging Face hub, and mirrors that speak its paths, through `huggingface_hub`."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from matinee.config import HubSource
from matinee.data.sources.integrity import Algorithm, link_all, require
from matinee.data.sources.selection import files_below, ignored_by, patterns_of, select
from matinee.runtime.errors import SourceError

Result = TypeVar("Result")

ATTEMPTS = 3
PAUSE_SECONDS = 1.0
TIMEOUT_SECONDS = 10.0


def endpoint() -> str:
    """The hub's address: `HF_ENDPOINT`, or the public hub."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def fetch(source: HubSource, folder: Path, what: str, *, offline: bool) -> dict[str, Any]:
    """Fetches into the hub's own cache (interrupted downloads resume there), checks, links.

    The revision is resolved to a commit first, and every file is checked against the checksum
    that the hub lists for that commit. Raises SourceError.
    """
    if offline:
        return _from_cache(source, folder, what)
    from huggingface_hub import HfApi, snapshot_download

    api = HfApi(endpoint=endpoint())
    # A model's or a data set's description; the client's type also admits kernels.
    info: Any = _patiently(
        lambda: api.repo_info(
            source.repo,
            repo_type=what,
            revision=source.revision,
            files_metadata=True,
            timeout=TIMEOUT_SECONDS,
        )
    )
    files = {file.rfilename: file for file in info.siblings or []}
    chosen = select(files, source, what)
    snapshot = Path(
        _patiently(
            lambda: snapshot_download(
                source.repo,
                repo_type=what,
                revision=info.sha,
                allow_patterns=[glob.escape(name) for name in chosen],
                endpoint=endpoint(),
                etag_timeout=TIMEOUT_SECONDS,
                max_workers=4,
            )
        )
    )
    for name in chosen:
        if (lfs := files[name].lfs) is not None:
            require(snapshot / name, "sha256", lfs.sha256, endpoint())
        elif (blob := files[name].blob_id) is not None:
            require(snapshot / name, "git", blob, endpoint())
    link_all(snapshot, chosen, folder)
    _remember_revision(snapshot, source.revision)
    card = info.card_data
    licence = str(card.get("license") or "") if card is not None else ""
    return {"revision": source.revision, "commit": info.sha, "licence": licence}


def _remember_revision(snapshot: Path, revision: str) -> None:
    """Notes in the hub's cache, in its own layout, which commit a branch or tag stood for."""
    if revision != snapshot.name:
        reference = snapshot.parents[1] / "refs" / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(snapshot.name, encoding="utf-8")


def _from_cache(source: HubSource, folder: Path, what: str) -> dict[str, Any]:
    snapshot, chosen = cached(source, what)
    algorithms: dict[int, Algorithm] = {64: "sha256", 40: "git"}
    for name in chosen:
        # The cache names a file by the checksum that the hub listed for it.
        blob = (snapshot / name).resolve().name
        if (snapshot / name).is_symlink() and len(blob) in algorithms:
            require(snapshot / name, algorithms[len(blob)], blob, "the hub's cache")
    link_all(snapshot, chosen, folder)
    return {"revision": source.revision, "commit": snapshot.name, "licence": ""}


def cached(source: HubSource, what: str) -> tuple[Path, list[str]]:
    """The folder of this revision in the hub's cache, and its files. Raises SourceError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        snapshot = Path(
            snapshot_download(
                source.repo,
                repo_type=what,
                revision=source.revision,
                allow_patterns=patterns_of(source, what),
                ignore_patterns=ignored_by(source),
                local_files_only=True,
            )
        )
    except (LocalEntryNotFoundError, OSError) as error:
        raise SourceError("not in the hub's cache on this machine") from error
    return snapshot, select(files_below(snapshot), source, what)


def _patiently(action: Callable[[], Result]) -> Result:
    """Runs the action, again after passing trouble. Raises SourceError in one line.

    A hub that cannot be reached at all is given up at once: waiting does not mend a firewall.
    """
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HfHubHTTPError,
        HTTPError,
        LocalEntryNotFoundError,
    )

    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action()
        except (HTTPError, LocalEntryNotFoundError, OSError) as error:
            cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else error
            status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else None
            hopeless = status is not None and status < 500 and status != 429
            if hopeless or attempt == ATTEMPTS or _unreachable(cause):
                raise SourceError(_explain(cause or error)) from error
            time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
    raise AssertionError("unreachable")


def _unreachable(error: BaseException | None) -> bool:
    # By name, because the client moved from one HTTP library to another between its releases.
    names = "ConnectError ConnectTimeout ProxyError UnsupportedProtocol OfflineModeIsEnabled"
    return any(kind.__name__ in names.split() for kind in type(error).__mro__)


def _explain(error: BaseException) -> str:
    from huggingface_hub import errors

    match error:
        case errors.GatedRepoError():
            return "gated: accept its terms on the hub's page, then set HF_TOKEN to your token"
        case errors.RepositoryNotFoundError():
            return "no such repository, or a private one; for a private one set HF_TOKEN"
        case errors.RevisionNotFoundError():
            return "the repository has no such revision"
        case errors.OfflineModeIsEnabled():
            return "HF_HUB_OFFLINE is set, which forbids the hub's client the network; unset it"
        case errors.HfHubHTTPError():
            return f"the hub answered with status {error.response.status_code}"
        case _:
            return no_answer(error)


def no_answer(error: BaseException) -> str:
    """What a client that meets anything else says."""
    line = str(error).strip().partition("\n")[0]
    return f"no usable answer ({type(error).__name__}: {line[:200]})"
