"""Rows and columns of images with units, whatever a dataset's JSON says of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.vimh.axes import channels_of
from src.vimh.info import DatasetInfo

numbers = st.sampled_from([0, 1, 5, 512, 8000, 0.5, 1e-300, 1e11, 1e300, 2**70, 10**400, -1, -0.5, True])
SCALES = st.sampled_from(["htk", "slaney", [], 5])
PLACES = [f"{what}{key}" for what in ("row", "column") for key in ("s", "_units", "_first", "_step")]
anything = numbers | st.sampled_from([None, "512", [], {}, float("inf"), float("nan")])


@given(
    height=st.sampled_from([1, 2, 32]),
    width=st.sampled_from([1, 3, 40]),
    sample_rate=st.none() | numbers.filter(lambda number: number is not True and abs(number) < 1e300),
    duration=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    stft=st.none() | st.dictionaries(st.sampled_from(["n_fft", "first_bin", "win_length", "hop_length"]), anything),
    mel=st.none() | st.fixed_dictionaries({"f_min": anything, "f_max": anything, "mel_scale": SCALES}),
    axes=st.none() | st.dictionaries(st.sampled_from(PLACES), anything),
)
def test_rows_and_columns_are_where_the_json_says_or_are_numbered(
    height, width, sample_rate, duration, stft, mel, axes
):
    data = {
        **{"format": "VIMH", "version": "2.1", "height": height, "width": width, "channels": 1},
        **{"parameter_names": ["p"], "train_samples": 1, "test_samples": 0},
        "parameter_mappings": {"p": {"min": 0, "max": 1, "step": 1}},
        **{"sample_rate": sample_rate, "duration": duration, "spectrogram_config": stft, "mel_config": mel},
        "channel_axes": None if axes is None else [axes],
    }
    (channel,) = channels_of(DatasetInfo.from_dict(data, "here"), has_spec_range=True)
    for axis, n in ((channel.rows, height), (channel.columns, width)):
        assert len(axis.centre) == n
        assert np.isfinite(axis.centre).all() and (np.diff(axis.centre) > 0).all()
        assert axis.position(axis.centre) == pytest.approx(np.arange(n))
        places, texts = axis.ticks(6)
        assert len(places) == len(texts)
        assert all(-0.5 <= place <= n - 0.5 for place in places)
