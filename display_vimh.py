"""Shows a VIMH dataset: in a window where there is a display, as a contact sheet elsewhere.

    python display_vimh.py                                  the newest dataset under data/
    python display_vimh.py DIR --save sheet.png             a contact sheet, or .html
    python display_vimh.py DIR --info                       metadata, validation and statistics
    python display_vimh.py DIR --validate                   every record and checksum; exit code 1 at a defect

Keys of the window are shown in it.
"""

import sys

import rootutils

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)

from src.tasks.display import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
