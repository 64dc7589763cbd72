"""The errors of this project. Every message says what was found, where, and what to do."""


class NSMError(Exception):
    """Anything a user can mend. Entry points print it without a traceback and exit with 1."""


class ConfigError(NSMError, ValueError):
    """A value in a configuration that cannot be used."""


class VIMHError(NSMError):
    """A dataset on disk that is missing, damaged, contradicts itself, or is not the one that was asked for."""


class CheckpointError(NSMError):
    """A file that is no checkpoint of this project, or does not belong to the dataset at hand."""
