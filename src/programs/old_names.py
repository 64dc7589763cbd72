"""Answers to names that configurations and options had before."""


def answer_to_old_name(arguments: list[str]) -> str | None:
    """What to type instead of an old name on a command line; None where there is no old name.

    Args:
        arguments: The command line, without the program.
    """
    return None
