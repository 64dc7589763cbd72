"""Stored configurations of earlier versions, in today's names.

A dataset's JSON (`generator`) and a checkpoint (`nsm_run`) hold a configuration under `config`, and the version of its
names under `config_version`; without that key they are of version 1. `upgraded` is called where such a file is read,
and nowhere else: all other code uses today's names alone.
"""

from collections.abc import Mapping
from typing import Any

from src.errors import NSMError
from src.plain import shown
from src.version_1 import from_version_1

CONFIG_VERSION = 2


def upgraded(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of a file with its configuration in today's names.

    Args:
        entry: With `config`, and `config_version` if it is above 1. Without `config` it is returned as it is.

    Raises:
        NSMError: If the entry was written by a newer version of this project.
    """
    version = entry.get("config_version", 1)
    if type(version) is not int or not 1 <= version <= CONFIG_VERSION:
        raise NSMError(
            f"config_version is {shown(version)}, and this version of the project reads 1 to {CONFIG_VERSION}: the "
            "file was written by a newer one. Update the project."
        )
    stored = config = entry.get("config")
    if not isinstance(config, Mapping):
        return dict(entry)
    if version == 1:
        config = from_version_1(config)
    return dict(entry) | ({} if config == stored else {"config": config, "config_version": CONFIG_VERSION})
