"""The errors that a user can cause: each says what is wrong, where, and what to do."""

import errno
import os


class UserError(Exception):
    """Base of every error that is printed without a traceback and ends with exit status 1."""


# What the system says about a disk, and what to do; libraries pass only its words on.
_STORAGE = {
    errno.ENOSPC: "Make room on that disk",
    errno.EDQUOT: "Make room: your quota there is used up",
    errno.EROFS: "It is mounted read-only: make it writable or use another folder",
}


def storage_problem(error: BaseException) -> str | None:
    """A message for a user whose disk is full or read-only; None for any other error."""
    while True:
        for number, advice in _STORAGE.items():
            words = os.strerror(number)
            if getattr(error, "errno", None) == number or words in str(error):
                where = getattr(error, "filename", None)
                return (
                    f"{words}{f': {where}' if where else ''}. {advice}; then the same command goes "
                    "on. Nothing half-written counts as done."
                )
        following = error.__cause__ or error.__context__
        if following is None:
            return None
        error = following


class ConfigurationError(UserError):
    """The configuration, or a file it names, cannot be used."""


class SourceError(UserError):
    """A model or data set cannot be fetched, or what arrived is not what was asked for."""


class DataError(UserError):
    """A data row cannot be used."""


class ScenarioError(UserError):
    """A tool list or a scenario file cannot be used."""


class TrainingError(UserError):
    """Training cannot go on: no supervised tokens, a loss that is not finite, out of memory."""


class MergeError(UserError):
    """The merged model is not what training made."""


class ExportError(UserError):
    """A merged model cannot be written in another form."""


class PublishError(UserError):
    """A merged model cannot be uploaded."""


class EngineError(UserError):
    """A model cannot be loaded or an endpoint does not answer."""
