"""Old names of groups, options and keys on a command line, and what to write today.

Hydra would call them unknown, or take them for something new. One table, from a pattern of the override to the message,
in which `{0}` is the override; docs/migration.md lists the same for people.
"""

import re
from collections.abc import Sequence

WINDOW = "short_window|medium_window|long_window"  # options of their own before
WINDOWS = "windows are one option with a list of ratios: channels=[windows] channels.windows.ratios=[0.25,4]."
OLD_NAMES = {
    r"/?spectral=\[?(stft|mel|waveform|bits)\]?": "{0} is now representation={1}.",
    r"/?spectral=.*": "{0}: the first name is now representation=NAME, the others channels=[NAME,NAME]. Windows are "
    "one option, with ratios 0.25 (short_window), 1, 4 (long_window): channels=[windows] channels.windows.ratios=[4].",
    rf"(spectral\.)?channels(=.*\bwindow_[\d.]+|(=.*|\.)\b({WINDOW}))\b.*": "{0}: " + WINDOWS,
    r"spectral\.(channels\..*)": "{0} is now {1}.",
    r"spectral\.(.*)": "{0} is now representation.{1}.",
    r"representation=\[.*,.*": "{0}: there is one representation. Further channels are a list of their own: "
    "representation=stft channels=[windows,modulation].",
    r"channels=\[(?:.*,)?\s*(\w+)\s*,(?:.*,)?\s*\1\s*[,\]].*": "{0} names {1} twice; name each channel once.",
    r"experiment=moog_vit_(\w+)": "{0} is now experiment=moog_cnn_{1} model=vit_tiny experiment_name=moog_vit_{1}.",
    r"callbacks(=.*|\.|/)\blean_loop\b.*": "{0}: training needs no such callback any more. Leave it out.",
    r"callbacks(=.*|\.|/)\bmodel_summary\b.*": "{0}: no table of layers is printed any more; make tds "
    "prints every network block by block. Leave it out.",
    r"callbacks(=.*|\.|/)\blr_monitor\b.*": "{0}: the learning rate is logged without a callback. Leave it out.",
    r"callbacks(=.*|\.|/)\bfinal_metrics\b.*": "{0}: this callback is now overview, and needs no settings.",
    r"logger(=.*|\.|/)\bneptune\b.*": "{0}: Neptune is not supported any more; make lc lists the loggers that are.",
    r"interactive=.*": "{0}: audio_eval.py has no window of its own any more. Open the report that it writes, or start "
    "display_vimh.py.",
    r"model\.net\.(input_shape|head_sizes|n_aux|aux_mean|aux_std)=.*": "{0}: a network is given the sizes and means of "
    "its dataset when it is made. Leave it out.",
    r"--spectral\b.*": "{0}: the options are now --representation NAME and --channels A,B, as in --representation stft "
    "--channels windows,modulation.",
}


def answer_to_old_name(overrides: Sequence[str]) -> str | None:
    """The message for a command line that holds an old name.

    Args:
        overrides: The command line, without the program.

    Returns:
        One sentence about the first of them; None if there is none.
    """
    for override in overrides:
        for pattern, answer in OLD_NAMES.items():
            if match := re.fullmatch(pattern, override.lstrip("+~")):
                return answer.format(override, *match.groups())
    return None
