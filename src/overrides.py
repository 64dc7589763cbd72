"""Text as the value of an override, in Hydra's language."""

import re

from hydra.core.override_parser.types import Quote, QuotedString


def quoted(text: str, interpolated: bool = False) -> str:
    """Text in Hydra's quotes, which Hydra and OmegaConf read as these very characters.

    Args:
        text: Any text, such as a path.
        interpolated: Whether `${…}` is an interpolation nevertheless.
    """
    if not interpolated:
        text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    return QuotedString(text, Quote.double).with_quotes()
