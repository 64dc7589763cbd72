import pytest

from src.programs.old_names import OLD_NAMES, answer_to_old_name

ANSWERS = {
    "spectral=mel": "spectral=mel is now representation=mel.",
    "/spectral=waveform": "representation=waveform.",
    "+spectral=[stft]": "spectral=[stft] is now representation=stft.",
    "spectral=[stft,long_window]": "the first name is now representation=NAME, the others channels=[NAME,NAME]",
    "spectral=[mel, short_window,group_delay,long_window]": "4 (long_window): channels=[windows] channels.windows.",
    "spectral=modulation": "the others channels=[NAME,NAME]",
    "spectral.height=64": "spectral.height=64 is now representation.height=64.",
    "~spectral.mel": "representation.mel",
    "spectral.channels.modulation.max_frequency=20": "is now channels.modulation.max_frequency=20.",
    "spectral.channels.long_window.win_ratio=8": "channels=[windows] channels.windows.ratios=[0.25,4]",
    "channels=[window_4]": "channels=[windows] channels.windows.ratios=",
    "channels=[modulation,long_window]": "channels.windows.ratios=",
    "channels.short_window.window=boxcar": "channels.windows.ratios=",
    "representation=[stft,modulation]": "there is one representation",
    "channels=[modulation,normalized,modulation]": "names modulation twice",
    "channels=[modulation, modulation]": "names modulation twice",
    "experiment=moog_vit_basic": "is now experiment=moog_cnn_basic model=vit_tiny experiment_name=moog_vit_basic.",
    "callbacks=lean_loop": "training needs no such callback",
    "callbacks.lean_loop=null": "training needs no such callback",
    "callbacks=[model_checkpoint,lr_monitor]": "the learning rate is logged without a callback",
    "callbacks.model_summary=null": "make tds prints every network block by block",
    "callbacks.final_metrics=null": "this callback is now overview",
    "~callbacks.lr_monitor": "the learning rate is logged without a callback",
    "logger=neptune": "Neptune is not supported",
    "++logger.neptune.name=mine": "Neptune is not supported",
    "interactive=true": "display_vimh.py",
    "model.net.n_aux=3": "given the sizes and means of its dataset",
    "--spectral": "--representation",
    "--spectral=stft,modulation": "--representation",
}


@pytest.mark.parametrize("override", ANSWERS)
def test_an_old_name_is_answered_by_the_new_one(override):
    assert ANSWERS[override] in answer_to_old_name(["seed=3", override, "interactive=false"])


def test_every_old_name_is_tried():
    answers = {answer_to_old_name([override]).replace(override, "") for override in ANSWERS}
    assert len(answers) >= len(OLD_NAMES)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--config-name=synth/generate_moog_basic", "representation=stft", "channels=[windows,modulation]"],
        ["channels=windows", "channels.windows.ratios=[0.25,4]", "representation.height=64", "channels=[]"],
        ["channels=[modulation,group_delay,normalized]", "representation=[stft]"],
        ["experiment=moog_cnn_basic", "model=vit_tiny", "experiment_name=moog_vit_basic", "callbacks=none"],
        ["model.net.widths=[8,8]", "data.aux=[spec_min,spectral_centroid]", "logger=[csv,tensorboard]"],
        ["audio=spectral=long_window.wav", "callbacks.early_stopping=null"],
    ],
)
def test_names_of_today_need_no_answer(arguments):
    assert answer_to_old_name(arguments) is None
