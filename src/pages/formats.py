"""Numbers as texts for people; `formats.js` is the same in JavaScript."""

import math


def format_number(number: float | None, decimals: int | None = None) -> str:
    """A number as text, with a true minus sign.

    Args:
        number: Any; `–` stands for None and for what is not finite.
        decimals: Digits after the point; as many as make three digits if None.
    """
    if number is None or not math.isfinite(number):
        return "–"
    if number and abs(number) < 1e-4 and decimals is None:
        return f"{number:.1e}".replace("-", "−")
    if decimals is None:
        decimals = decimals_of(abs(number) / 10)
    text = f"{number:.{decimals}f}"
    return text.lstrip("-") if not text.strip("-0.") else text.replace("-", "−")


def decimals_of(width: float) -> int:
    """Digits after the point that show two digits of `width`, 0 to 6."""
    return min(6, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else 0


def format_hertz(frequency: float) -> str:
    """A frequency for a tick: 440, 1.5k."""
    return f"{round(frequency / 1000, 2):g}k" if frequency >= 1000 else f"{frequency:.0f}"
