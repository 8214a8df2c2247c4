"""Uploads an exported model to the Hugging Face hub, or to a hub that speaks its paths."""

from __future__ import annotations

import os
from pathlib import Path

from matinee.data.sources.hub import endpoint
from matinee.runtime.errors import PublishError


def publish(folder: Path, repository: str, *, private: bool, token_env: str) -> dict[str, str]:
    """Uploads the folder as one commit; makes the repository where it is missing.

    Returns address and commit. The token is read from the variable `token_env` and written
    nowhere. Raises PublishError.
    """
    token = os.environ.get(token_env)
    if not token:
        raise PublishError(
            f"No token: set the variable {token_env} to one that may write to {repository}, then "
            "run the same command again. The merged model is ready; nothing else runs again."
        )
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    api = HfApi(endpoint=endpoint(), token=token)
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message="Merged model with its chat template and card",
        )
    # Also ValueError: a large file that the server did not take.
    except (HTTPError, OSError, ValueError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise PublishError(
            f"{repository} could not be uploaded to {endpoint()}: {said[0]} Check the token's "
            "rights and the address; the same command tries again."
        ) from error
    return {"address": f"{endpoint()}/{repository}", "commit": commit.oid}
