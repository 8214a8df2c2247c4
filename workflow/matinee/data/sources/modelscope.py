"""ModelScope, through its own client, which is imported only when a source asks for it."""

from __future__ import annotations

import glob
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from matinee.config import HubSource
from matinee.data.sources.hub import no_answer
from matinee.data.sources.integrity import link_all, require
from matinee.data.sources.selection import files_below, ignored_by, patterns_of, select
from matinee.runtime.errors import SourceError

Result = TypeVar("Result")


def fetch(source: HubSource, folder: Path, what: str, *, offline: bool) -> dict[str, Any]:
    """Fetches into ModelScope's own cache, checks against the listed SHA-256, links.

    `MODELSCOPE_ENDPOINT` and `MODELSCOPE_API_TOKEN` are honoured by the client. ModelScope does
    not tell the commit behind a branch; the checksums in `run.json` pin the files instead.
    Raises SourceError.
    """
    if offline:
        snapshot, chosen = cached(source, what)
    else:
        api = _client()
        listed = _asked(
            lambda: api.list_repo_files(source.repo, what, revision=source.revision, recursive=True)
        )
        files = {file.path: file for file in listed if not file.is_dir}
        chosen = select(files, source, what)
        snapshot = _asked(
            lambda: Path(
                api.download_repo(
                    source.repo,
                    what,
                    revision=source.revision,
                    allow_patterns=[glob.escape(name) for name in chosen],
                )
            )
        )
        for name in chosen:
            if files[name].sha256:
                require(snapshot / name, "sha256", files[name].sha256, "modelscope")
    link_all(snapshot, chosen, folder)
    return {"revision": source.revision, "commit": "", "licence": ""}


def _client() -> Any:
    try:
        from modelscope_hub import HubApi
        from modelscope_hub.config import HubConfig
    except ImportError as error:
        raise SourceError(
            "its client is not installed; run `pip install modelscope-hub` (or `modelscope`)"
        ) from error
    return HubApi(config=HubConfig())


def cached(source: HubSource, what: str) -> tuple[Path, list[str]]:
    """The folder of this revision in ModelScope's cache, and its files. Raises SourceError."""
    snapshot = _asked(
        lambda: Path(
            _client().download_repo(
                source.repo,
                what,
                revision=source.revision,
                allow_patterns=patterns_of(source, what),
                ignore_patterns=ignored_by(source),
                local_files_only=True,
            )
        )
    )
    return snapshot, select(files_below(snapshot), source, what)


def _asked(action: Callable[[], Result]) -> Result:
    try:
        return action()
    except SourceError:
        raise
    # The client raises classes of its own, of requests, and ValueError, with no common base.
    except Exception as error:
        raise SourceError(no_answer(error)) from error
