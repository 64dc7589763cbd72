import numpy as np
import pytest
import torch

from src.listening.report import Axes

CONFIGS = ["synth/generate_simple_saw", "synth/generate_moog_basic", "synth/generate_moog_envelope"]


@pytest.fixture(scope="module", params=CONFIGS)
def representation(recipe_of, request):
    return recipe_of("dataset.size=16", config_name=request.param).representation


@pytest.mark.parametrize("f0", [300.0, 900.0])
def test_a_tone_lies_where_the_axis_says(representation, f0):
    axes = Axes.of(representation)
    assert (len(axes.frequency), len(axes.time)) == representation.image_shape[1:]
    t = np.arange(representation.n_samples) / representation.sample_rate
    tone = np.sin(2 * np.pi * f0 * t).astype(np.float32)
    db = representation.spectrogram_db(torch.from_numpy(tone))[0][0]
    row = int(db.mean(dim=1).argmax())
    gaps = np.diff(axes.frequency)
    assert abs(axes.frequency[row] - f0) <= 0.75 * gaps[max(row - 1, 0) : row + 1].max()


def test_a_click_lies_where_the_axis_says(representation):
    axes = Axes.of(representation)
    for column in (0, len(axes.time) // 2):
        click = np.zeros(representation.n_samples, np.float32)
        click[round(axes.time[column] * representation.sample_rate)] = 1.0
        level = representation.spectrogram_db(torch.from_numpy(click))[0][0].mean(dim=0)
        assert level[column] == level.max()
