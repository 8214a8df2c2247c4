"""Uploads an exported model to the Hugging Face hub, one that speaks its paths, or ModelScope."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matinee.data.sources.hub import endpoint
from matinee.runtime.errors import PublishError

MESSAGE = "Merged model with its chat template and card"
# Beside GGUF files: the record of their making, which tells of this machine.
LEFT_OUT = ["run.json"]


@dataclass(frozen=True)
class Upload:
    """A repository, who sees it when it is new, and what goes where in it."""

    repository: str
    private: bool
    folders: tuple[tuple[Path, str], ...]


def publish(
    folder: Path,
    repository: str,
    *,
    private: bool,
    token_env: str,
    hub: Literal["hf", "modelscope"] = "hf",
    gguf: Path | None = None,
) -> dict[str, str]:
    """Uploads the folder, and GGUF files below gguf/; makes the repository where it is missing.

    Returns address and commit (empty on ModelScope, which names none). The token is read from the
    variable that is named and written nowhere. Raises PublishError.
    """
    token = os.environ.get(token_env)
    if not token:
        raise PublishError(
            f"No token: set the variable {token_env} to one that may write to "
            f"{repository}, then run the same command again. The merged model is ready; "
            "nothing else runs again."
        )
    folders = ((folder, ""), *([(gguf, "gguf")] if gguf else []))
    send = _to_modelscope if hub == "modelscope" else _to_hub
    return send(Upload(repository, private, folders), token)


def _to_hub(told: Upload, token: str) -> dict[str, str]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    api = HfApi(endpoint=endpoint(), token=token)
    try:
        api.create_repo(told.repository, private=told.private, exist_ok=True)
        for folder, place in told.folders:
            commit = api.upload_folder(
                repo_id=told.repository,
                folder_path=folder,
                path_in_repo=place,
                ignore_patterns=LEFT_OUT,
                commit_message=MESSAGE,
            )
    # Also ValueError: a large file that the server did not take.
    except (HTTPError, OSError, ValueError) as error:
        raise _failed(told, endpoint(), error, token) from error
    return {"address": f"{endpoint()}/{told.repository}", "commit": commit.oid}


def _to_modelscope(told: Upload, token: str) -> dict[str, str]:
    try:
        from modelscope_hub import HubApi
        from modelscope_hub.config import HubConfig
    except ImportError:
        raise PublishError(
            "Publishing on ModelScope needs its client. Install it: pip install modelscope-hub"
        ) from None
    settings = HubConfig(token=token)
    api, address = HubApi(config=settings), str(settings.endpoint)
    try:
        if not api.repo_exists(told.repository, "model"):
            # The client's default would call every model Apache-2.0; the card has the true licence.
            visibility = "private" if told.private else "public"
            api.create_repo(told.repository, "model", visibility=visibility, license="other")
        for folder, place in told.folders:
            api.upload_folder(
                told.repository,
                "model",
                folder,
                path_in_repo=place,
                ignore_patterns=LEFT_OUT,
                commit_message=MESSAGE,
                use_cache=False,  # its cache would be a file of the model's folder
                disable_tqdm=True,
            )
    # The client raises classes of its own and of requests, and ValueError, with no common base.
    except Exception as error:
        raise _failed(told, address, error, token) from error
    return {"address": f"{address}/models/{told.repository}", "commit": ""}


def _failed(told: Upload, address: str, error: Exception, token: str) -> PublishError:
    said = (str(error).strip().splitlines() or [type(error).__name__])[0].replace(token, "***")
    return PublishError(
        f"{told.repository} could not be uploaded to {address}: {said} Check the token's rights "
        "and the address; the same command tries again."
    )
