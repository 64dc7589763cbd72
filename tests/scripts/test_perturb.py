import numpy as np
import pytest
import soundfile

from scripts import perturb
from src.errors import NSMError

RATE = 8000


@pytest.fixture
def recording(tmp_path):
    time = np.arange(RATE // 2) / RATE
    path = tmp_path / "<i>tone.wav"
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 220 * time) * np.exp(-4 * time), RATE)
    return path


def test_every_change_of_a_recording_is_written_and_shown(recording, tmp_path):
    given = perturb.from_file(recording, 0)
    changed = [perturb.changed_by(option, given, None, 0) for option in ("noise", "room", "mp3", "measured_room")]
    assert [one.waveform is None for one in changed] == [False, False, False, True]
    assert "--rooms DIR" in changed[3].about and changed[0].about.startswith("noise (ratio ")
    perturb.write(given, changed, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("before.wav", "noise.wav", "room.wav", "mp3.wav", "perturb.html", "perturb.png")
    }
    written, rate = soundfile.read(tmp_path / "out" / "noise.wav")
    assert rate == RATE and np.abs(written - changed[0].waveform).max() < 1e-4
    page = (tmp_path / "out" / "perturb.html").read_text()
    assert "&lt;i&gt;tone.wav" in page and "<i>tone" not in page
    assert page.count("<audio") == 6 and "default-src 'none'" in page and "http" not in page.replace("http-equiv", "")


def test_a_voice_begins_at_another_phase_and_a_recording_cannot(recording):
    voice, given = perturb.from_voice(perturb.GENERATOR, 3), perturb.from_file(recording, 3)
    assert not np.array_equal(perturb.changed_by("phase", voice, None, 3).waveform, voice.waveform)
    assert np.array_equal(perturb.changed_by("phase", given, None, 3).waveform, given.waveform)


def test_what_a_voice_does_not_know_is_said():
    changed = perturb.changed_by("key_shift", perturb.from_voice(perturb.GENERATOR, 3), None, 3)
    assert changed.waveform is None and "varies key_shift, which SawVoice does not know" in changed.about


def test_measured_rooms_come_from_the_directory_that_is_named(recording, tmp_path):
    given, rooms = perturb.from_file(recording, 0), tmp_path / "rooms, odd=1"
    rooms.mkdir()
    refused = perturb.changed_by("measured_room", given, str(rooms), 0)
    assert refused.waveform is None and "no audio file" in refused.about
    impulse = np.zeros(100)
    impulse[[3, 60]] = 1, 0.5
    soundfile.write(rooms / "room.wav", impulse, RATE)
    assert perturb.changed_by("measured_room", given, str(rooms), 0).waveform is not None


def test_what_is_no_audio_is_refused(tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(NSMError, match=r"text\.wav"):
        perturb.from_file(tmp_path / "text.wav", 0)
