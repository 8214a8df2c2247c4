"""The errors that a user can cause: each says what is wrong, where, and what to do."""


class UserError(Exception):
    """Base of every error that is printed without a traceback and ends with exit status 1."""


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


class PublishError(UserError):
    """A merged model cannot be uploaded."""


class EngineError(UserError):
    """A model cannot be loaded or an endpoint does not answer."""
