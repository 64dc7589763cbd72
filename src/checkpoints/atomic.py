"""`AtomicCheckpoints`: a checkpoint exists whole or not at all, and so does what it names."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from src.files import remove_stale, write_atomically

LAST_NAME = "last.ckpt"


class AtomicCheckpoints(TorchCheckpointIO):
    """Lightning's way of writing checkpoints, but beside their names, and flushed to the disk.

    Lightning writes to TMPDIR and moves, which copies in place where TMPDIR is on another file system.

    A best checkpoint that is the best no longer is removed when `last.ckpt` has been written anew: until then that
    names it, and a run which resumes from there would miss it.
    """

    def __init__(self) -> None:
        self.outdated: set[Path] = set()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Called by Lightning to write a checkpoint.

        Raises:
            OSError: If the disk refuses; its `filename` is the checkpoint. What was there before is left.
        """
        if _is_url(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        content = io.BytesIO()  # or a full disk would be a RuntimeError that does not say so
        torch.save(checkpoint, content)
        path = Path(path)
        write_atomically(path, content.getvalue())  # no view of it: in a traceback, one crashes Python 3.12
        remove_stale(path.parent)
        self.outdated.discard(path)
        if path.name == LAST_NAME:
            while self.outdated:
                self.outdated.pop().unlink(missing_ok=True)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Called by Lightning when it has written a better one."""
        if _is_url(path) or not Path(path).with_name(LAST_NAME).is_file():
            super().remove_checkpoint(path)
        else:
            self.outdated.add(Path(path))


def _is_url(path: str | Path) -> bool:
    """Whether the path is of a file system that Lightning reaches by its name, such as s3://."""
    return "://" in str(path)
