"""Which files of a repository are fetched: what a model needs, and never a pickle."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from matinee.config import HubSource
from matinee.runtime.errors import SourceError

MODEL_FILES = (
    *("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json"),
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt"),
    *("chat_template*", "*.model", "LICENSE*"),
)
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.h5", "*.msgpack")
CONVERSION = (
    "Convert them once, on a machine where you trust them: AutoModelForCausalLM.from_pretrained("
    "folder).save_pretrained(new_folder), and the same for AutoTokenizer; then use `kind: path`."
)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a path matches one of the glob patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def patterns_of(source: HubSource, what: str) -> list[str]:
    """The glob patterns to fetch. Raises SourceError for a data set that names no files."""
    if source.files:
        return list(source.files)
    if what == "dataset":
        raise SourceError(
            "`files` is empty; a data set must say which files it needs, such as ['*.json']"
        )
    return list(MODEL_FILES)


def ignored_by(source: HubSource) -> list[str]:
    """The glob patterns that are never fetched, whatever else fits.

    Without `files`, only the top folder counts: sub-folders hold exports for other software, and
    `consolidated*` the same weights once more.
    """
    return [*PICKLES, *([] if source.files else ["*/*", "consolidated*"])]


def select(names: Iterable[str], source: HubSource, what: str) -> list[str]:
    """The repository's files to fetch, sorted.

    Raises SourceError when nothing fits, or when a model has only pickles.
    """
    names = sorted(names)
    require_plain(names)
    patterns = patterns_of(source, what)
    ignored = ignored_by(source)
    chosen = [name for name in names if matches(name, patterns) and not matches(name, ignored)]
    if what == "model":
        require_safe_weights(chosen, names)
    if not chosen:
        listed = ", ".join(names[:20]) or "none"
        raise SourceError(f"no file matches {patterns}. Files there: {listed}")
    return chosen


def files_below(folder: Path) -> list[str]:
    """The files of a folder and of those in it, by their relative paths."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def require_plain(names: Iterable[str]) -> None:
    """Raises SourceError for a listing with a name that would leave the folder it belongs in."""
    for name in names:
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
            raise SourceError(f"the listing names a file outside of the repository: {name!r}")


def require_safe_weights(chosen: list[str], all_names: list[str]) -> None:
    """Raises SourceError unless the chosen files make a model without pickles."""
    if any(name.endswith((".safetensors", ".gguf")) for name in chosen):
        return
    pickles = [name for name in all_names if matches(name, PICKLES)]
    if pickles:
        raise SourceError(
            f"only pickled weights ({', '.join(pickles[:3])}), which can run code when opened. "
            f"{CONVERSION}"
        )
    raise SourceError("no weights (*.safetensors) among its files")
