"""Many short cases of one law in one test: each of its own would take longer to set up than to run."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def naming(*case: object) -> Iterator[None]:
    """Name a case where it fails."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"The case: {', '.join(f'{part!r:.100}' for part in case)}")
        raise
