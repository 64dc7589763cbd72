"""Logging that speaks once, however many processes train together."""

import logging
import os
from collections.abc import MutableMapping
from typing import Any

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


def process_rank() -> int:
    """Number of this process among those that train together; 0 when it is alone.

    It is read from what launchers put into the environment, since importing Lightning to ask it takes seconds.
    """
    return next((int(os.environ[name]) for name in RANK_VARIABLES if name in os.environ), 0)


class RankedLogger(logging.LoggerAdapter):
    """A logger whose messages come from rank zero alone, or from every rank with its number in front.

    Args:
        name: Name of the logger, usually `__name__`.
        rank_zero_only: Drop the messages of every other rank.
    """

    def __init__(self, name: str, rank_zero_only: bool = True) -> None:
        super().__init__(logging.getLogger(name), {})
        self.rank_zero_only = rank_zero_only

    def isEnabledFor(self, level: int) -> bool:
        """Whether a message of this level would be written by this process."""
        return (process_rank() == 0 or not self.rank_zero_only) and super().isEnabledFor(level)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Puts the rank in front of a message that any rank may write."""
        return (msg if self.rank_zero_only else f"[rank {process_rank()}] {msg}"), kwargs
