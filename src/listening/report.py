"""The listening report: one HTML file with its sounds and pictures inside, which opens from disk and loads nothing.

A verdict in a sentence, the worst, the median and the best sound to hear at once, the list of all sounds, errors over
true values, and tables. Texts and numbers are made here; what depends on the chosen sound is handed to the script as
one block of JSON and one of compressed bytes, which `report.js` draws and plays.
"""

from pathlib import Path

from src.listening.content import Axes, Report, Side, Sound
from src.listening.figures import confusions, scatters, tables
from src.listening.sounds import page_data
from src.listening.verdict import verdict
from src.pages.pages import PageSource

__all__ = ["PAGE", "Axes", "Report", "Side", "Sound", "render_report"]

HERE = Path(__file__).parent
PAGE = PageSource(HERE / "report.html.j2", HERE / "report.css", HERE / "report.js", HERE / "listening.css")


def render_report(report: Report) -> str:
    """The whole page, HTML.

    Raises:
        ConfigError: If there is no sound, or shapes contradict each other.
    """
    report.check()
    data, block = page_data(report)
    return PAGE.inline(
        data,
        report=report,
        block=block,
        verdict=verdict(report),
        cards=data["cards"],
        tables=tables(report),
        scatters=scatters(report),
        confusions=confusions(report),
        sides=report.side_names,
    )
