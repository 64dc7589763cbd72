"""Places of a disk that cannot be used: which one it was, and why. Imports nothing heavy."""

import errno
import io
import os
import traceback

# Places that cannot be used, and errors that mean the same without a class of their own.
UNUSABLE = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def unusable_place(error: BaseException | None) -> str | None:
    """The file or directory that could not be made or opened where a user wanted it, and why; None if there is none.

    OmegaConf hides such an error of a resolver in the context of its own.
    """
    while error is not None:
        if isinstance(error, UNUSABLE) or (isinstance(error, OSError) and error.errno in NO_ROOM):
            place = error.filename2 or error.filename or written_file(error)
            if place is not None:
                return f"{place}: {error.strerror}. Name another place, or correct this one."
        error = error.__context__
    return None


def written_file(error: OSError) -> str | None:
    """The file that a disk refused to write to: such an error does not name it, but where it was raised it is open."""
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        opened = [value for value in frame.f_locals.values() if isinstance(value, io.IOBase)]
        names = [getattr(file, "name", None) for file in opened]
        paths = [os.fsdecode(name) for name in names if isinstance(name, str | bytes | os.PathLike)]
        found = paths[-1] if paths else found
    return found
