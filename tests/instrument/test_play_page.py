"""The live page in a real browser, played on a real server."""

import json
import signal

import numpy as np
import pytest
import soundfile
from browsing import CONTRASTS, FAULTS, Page, Served, browse, look

pytestmark = [pytest.mark.browser, pytest.mark.slow]

UP, RIGHT, ENTER, END, TAB = "\ue013", "\ue014", "\ue007", "\ue010", "\ue004"
WIDTHS = (390, 768, 1280, 1920)


@pytest.fixture(scope="module")
def driver():
    yield from browse()


@pytest.fixture(scope="module")
def options(trained_run, saw_dir, tmp_path_factory):
    """Two networks, the last epoch of a training and its best one, and the set that they were trained on."""
    log_dir = tmp_path_factory.mktemp("play")
    last, first = (trained_run.run_dir / "checkpoints" / name for name in ("last.ckpt", "epoch_000.ckpt"))
    return f"ckpt_path={last}", f"compare={first}", f"dataset={saw_dir}", f"paths.log_dir={log_dir}", "browser=false"


@pytest.fixture(scope="module")
def served(options):
    served = Served("src/play.py", *options)
    yield served
    served.process.kill()
    served.process.communicate()


class PlayPage(Page):
    """The page, opened at a fragment."""

    def __init__(self, driver, address, fragment=""):
        driver.get("about:blank")
        super().__init__(driver, address + fragment)

    def wait(self, condition, seconds=60.0):
        super().wait(condition, seconds)

    def number(self, knob):
        """The value of a knob as its slider tells it."""
        return float(self.run("return document.querySelectorAll('.dial')[arguments[0]].ariaValueNow", knob))

    def answers(self):
        """What the first network says, a text of each knob."""
        return self.texts(".knob .answers > .side-1 b")

    def drawn(self):
        """The picture of the sound, as a text that another picture does not have."""
        return self.run("return document.querySelector('#pictures canvas').toDataURL()")

    def dial(self, knob):
        return self.driver.find_elements("css selector", ".dial")[knob]

    def drop(self, path):
        self.one("#file").send_keys(str(path))

    def now(self):
        return self.text("#now")

    def trouble(self):
        return self.text("#trouble")


@pytest.fixture
def page(driver, served):
    look(driver, 1280)
    driver.get(served.entry)
    yield (opened := PlayPage(driver, served.address))
    assert opened.complaints() == []


@pytest.fixture(scope="module")
def wav(tmp_path_factory):
    path = tmp_path_factory.mktemp("sounds") / "a saw.wav"
    time = np.arange(12_000) / 8000
    soundfile.write(path, 0.4 * np.exp(-3 * time) * (2 * (220 * time % 1) - 1), 8000)
    return path


def test_a_knob_turned_by_keys_changes_what_the_network_reads(page):
    before, told = page.number(0), page.answers()
    page.run("document.querySelectorAll('.dial')[0].focus()")
    for _ in range(3):
        page.press(UP)
    page.wait(lambda: page.answers() != told)
    assert page.number(0) > before
    page.press(END)
    assert page.number(0) == float(page.dial(0).get_attribute("aria-valuemax"))


def test_a_knob_turned_by_the_mouse_changes_the_sound_and_the_picture(page):
    from selenium.webdriver.common.action_chains import ActionChains

    before, drawn = page.number(1), page.drawn()
    drag = ActionChains(page.driver).click_and_hold(page.dial(1))
    for _ in range(5):
        drag = drag.move_by_offset(0, 8)
    drag.release().perform()
    assert page.number(1) < before
    page.wait(lambda: page.drawn() != drawn)


def test_a_typed_number_is_in_natural_units_and_within_the_range(page):
    page.run("document.querySelectorAll('.dial')[0].focus()")
    page.press(ENTER)
    page.press("1e9")
    page.press(ENTER)
    assert page.number(0) == float(page.dial(0).get_attribute("aria-valuemax"))


def test_a_change_is_played_and_is_not_silent(page):
    page.click("#random")
    page.wait(lambda: page.playing() == "Sound")
    page.wait(lambda: page.run("return spied.contexts.some(({ state }) => state === 'running')"))
    loudest = page.run("return Math.max(...spied.buffers.at(-3).getChannelData(0))")
    assert 0 < loudest <= 1
    page.wait(lambda: page.playing() is None)
    page.run("document.activeElement.blur()")
    page.press(" ")
    page.wait(lambda: page.playing() == "Sound")


def test_both_sides_are_heard_at_the_same_position(page):
    page.click("#loop")
    page.click("#random")
    page.wait(lambda: page.playing() == "Sound" and page.position() > 0.2)
    starts = len(page.spied()["starts"])
    page.click("#toggle")
    assert page.playing() != "Sound"
    assert len(page.spied()["starts"]) == starts  # nothing begins again
    assert page.run("return document.querySelectorAll('.picture.audible.side-1').length") == 1


def test_a_sound_that_is_turned_while_it_plays_goes_on_where_it_is(page):
    from selenium.webdriver.common.action_chains import ActionChains

    page.click("#loop")
    page.click("#random")
    page.wait(lambda: page.playing() == "Sound" and page.position() > 0.2)
    starts = len(page.spied()["starts"])
    ActionChains(page.driver).click_and_hold(page.dial(0)).move_by_offset(0, 9).perform()
    page.wait(lambda: len(page.spied()["starts"]) > starts)
    (before, from_before), (now, from_now) = (
        start["when"] for start in page.spied()["starts"][starts - 1 : starts + 1]
    )
    duration = float(page.one("#seek").get_attribute("max"))
    apart = from_now - (from_before + now - before)
    assert abs((apart + duration / 2) % duration - duration / 2) < 0.04  # the clock of an output goes in blocks
    ActionChains(page.driver).release().perform()


def test_nothing_moves_while_a_knob_is_turned(page):
    page.wait(lambda: "dB a step" in page.text(".hears"))
    page.run("""
        window.places = new Set();
        const note = () => places.add(document.querySelector("#said").offsetTop);
        const all = { subtree: true, attributes: true, childList: true };
        new MutationObserver(note).observe(document.querySelector("#knobs"), all);
        note();
    """)
    page.run("document.querySelectorAll('.dial')[1].focus()")
    for _ in range(6):
        drawn = page.drawn()
        page.press(UP)
        page.wait(lambda drawn=drawn: page.drawn() != drawn)
    page.wait(lambda: not page.run("return document.querySelector('.hears.waiting')"))
    assert page.run("return places.size") == 1


def test_the_microphone_is_recorded_and_read(page):
    page.run("""
        navigator.mediaDevices.getUserMedia = async () => {
          const context = new AudioContext();
          const tone = new OscillatorNode(context, { type: "sawtooth", frequency: 220 });
          const line = new MediaStreamAudioDestinationNode(context);
          tone.connect(line);
          tone.start();
          return line.stream;
        };
    """)
    drawn = page.drawn()
    page.click("#record")
    page.wait(lambda: page.text("#record .word") == "Stop")
    page.driver.execute_async_script("setTimeout(arguments[0], 1500)")
    page.click("#record")
    page.wait(lambda: page.now() == "recording.wav" and page.drawn() != drawn)
    assert page.text("#record .word") == "Record"
    assert page.trouble() == ""


def test_two_networks_answer(page):
    assert len(page.texts("#said .listener")) == 2
    assert len(set(page.texts("#listeners span"))) == 2
    assert all(page.texts(".knob .answers > .side-2 b"))


def test_undo_goes_back_a_step_and_redo_forth(page):
    first = page.number(0)
    page.click("#random")
    second = page.number(0)
    page.click("#undo")
    assert page.number(0) == first
    page.click("#redo")
    assert page.number(0) == second != first


def test_the_address_restores_knobs_and_switches(driver, page, served):
    page.click("#random")
    page.click("#switch-noise")
    page.wait(lambda: "noise" in page.driver.current_url)
    values = [page.number(knob) for knob in range(2)]
    again = PlayPage(driver, served.address, "#" + page.driver.current_url.partition("#")[2])
    assert [again.number(knob) for knob in range(2)] == pytest.approx(values, rel=1e-5)
    assert again.one("#switch-noise").is_selected()


def test_a_bad_address_is_taken_as_far_as_it_goes(driver, page, served):
    again = PlayPage(driver, served.address, "#note_velocity=1e99&log10_decay_time=x&~noise.ratio=-7&~test=99999&%zz")
    assert again.number(0) == float(again.dial(0).get_attribute("aria-valuemax"))
    assert again.one("#switch-noise").is_selected()
    assert again.now() == "From the knobs"


def test_noise_makes_the_network_trust_itself_less(page):
    distance = "return parseFloat(document.querySelector('#said .zone').textContent.match(/[\\d.]+$/)[0])"
    before = page.run(distance)
    page.click("#switch-noise")
    page.wait(lambda: page.run(distance) > 1.5 * before)


def test_a_stored_sound_turns_the_knobs(page, saw_dir):
    stored = np.load(saw_dir / "test_values.npy")
    page.click("#test-after")
    page.wait(lambda: page.now() == "Test sound 0" and page.number(0) == pytest.approx(stored[0, 0]))
    page.press("t")
    page.wait(lambda: page.now() == "Test sound 1" and page.number(0) == pytest.approx(stored[1, 0]))


def test_a_file_is_read_refined_and_taken(page, wav):
    told = page.answers()
    page.drop(wav)
    page.wait(lambda: page.now() == wav.name and page.answers() != told)
    assert all(page.answers())
    page.click("#refine")
    page.wait(lambda: "renders" in page.text("#search-about"), 60)
    assert page.run("return document.querySelector('#step').max") != "0"
    found = page.run("return document.querySelectorAll('.found')[0].getAttribute('d')")
    page.run("document.querySelector('#step').value = 0")
    page.run("document.querySelector('#step').dispatchEvent(new Event('input'))")
    assert page.run("return document.querySelectorAll('.found')[0].getAttribute('d')") != found
    page.click("#take")
    page.wait(lambda: page.now() == "From the knobs")


@pytest.mark.parametrize("content", [b"no sound at all", b""], ids=["text", "empty"])
def test_a_file_that_is_no_sound_is_refused_in_words(page, tmp_path, content):
    path = tmp_path / "notes.wav"
    path.write_bytes(content)
    page.drop(path)
    page.wait(lambda: "notes.wav" in page.trouble())
    page.click("#random")
    page.wait(lambda: not page.trouble())


def test_what_is_kept_can_be_opened_again(page, tmp_path):
    page.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path), "eventsEnabled": False}
    )
    page.click("#random")
    page.wait(lambda: not page.one("#save").get_attribute("disabled"))
    page.settle()
    page.wait(lambda: page.playing() is not None)  # the sound of the knobs is there
    value = page.number(0)
    page.click("#save")
    page.wait(lambda: {path.name for path in tmp_path.iterdir()} >= {"sound.json", "sound.wav"})
    kept = json.loads((tmp_path / "sound.json").read_text())
    assert kept["parameters"]["note_velocity"] == pytest.approx(value, rel=1e-6)
    samples, rate = soundfile.read(tmp_path / "sound.wav")
    assert (rate, np.abs(samples).max() > 0.01) == (kept["sample_rate"], True)
    page.click("#random")
    page.drop(tmp_path / "sound.json")
    page.wait(lambda: page.number(0) == pytest.approx(value, rel=1e-6))


def test_four_pages_at_once(driver, page, served):
    first = driver.current_window_handle
    others = []
    for n in range(3):
        driver.switch_to.new_window("tab")
        others.append(driver.current_window_handle)
        PlayPage(driver, served.address, f"#note_velocity={100 + n}")
    for handle in (*others, first):
        driver.switch_to.window(handle)
        drawn = page.drawn()
        page.click("#random")
        page.wait(lambda drawn=drawn: page.drawn() != drawn)
    for handle in others:
        driver.switch_to.window(handle)
        driver.close()
    driver.switch_to.window(first)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read_at_every_width(driver, page, scheme):
    page.click("#switch-room")
    page.wait(lambda: page.run("return document.querySelectorAll('.switch').length") == 1)
    page.run("document.querySelector('#numbers').open = true")
    for width in WIDTHS:
        look(driver, width, 900, color_scheme=scheme, reduced_motion="reduce")
        page.settle()
        assert page.run(FAULTS) == []
        low = [(ratio, where) for ratio, where in page.run(CONTRASTS) if ratio < 4.5]
        assert low == []


def test_everything_is_reached_by_tab_and_named(page):
    unnamed = page.run("""
        return [...document.querySelectorAll("button, input, select, [tabindex='0']")]
          .filter((e) => e.checkVisibility())
          .filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.[0]?.textContent.trim()))
          .map((e) => e.outerHTML);
    """)
    assert unnamed == []
    assert page.run("return document.querySelectorAll('.dial[tabindex=\"0\"][role=slider]').length") == 2
    awaited = page.run("""
        window.left = new Set([...document.querySelectorAll("a, button, input, summary, [tabindex='0']")]
          .filter((e) => e.checkVisibility() && !e.disabled));
        document.addEventListener("focusin", ({ target }) => left.delete(target));
        return left.size;
    """)
    for _ in range(awaited + 2):
        page.press(TAB)
    assert page.run("return [...left].map((e) => e.outerHTML)") == []


def test_nothing_is_asked_of_another_server(page, served):
    assert all(url.startswith((served.address, "blob:", "ws:")) for url in page.requests())


def test_the_page_goes_on_when_the_server_is_there_again(page, served, options):
    page.click("#random")
    value = page.number(0)
    code, _ = served.end(signal.SIGINT)
    assert code == 0
    page.wait(lambda: "server is away" in page.trouble())
    page.complaints()  # of the browser, about connections that nobody takes
    port = served.address.rpartition(":")[2].strip("/")
    served.process = Served("src/play.py", *options, f"port={port}").process
    page.wait(lambda: not page.trouble())
    assert page.number(0) == value
    drawn = page.drawn()
    page.click("#random")
    page.wait(lambda: page.drawn() != drawn)
    page.complaints()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A synth of notes that nothing listens to."""
    log_dir = tmp_path_factory.mktemp("alone")
    chosen = ("run=none", "generator=synth/generate_moog_envelope", f"paths.log_dir={log_dir}", "browser=false")
    served = Served("src/play.py", *chosen)
    yield served
    served.process.kill()
    served.process.communicate()


def test_an_instrument_alone_says_how_to_train(driver, alone):
    look(driver, 1280)
    driver.get(alone.entry)
    page = PlayPage(driver, alone.address)
    assert "Train one" in page.text("#listeners")
    page.click("#random")
    page.wait(lambda: page.playing() == "Sound")
    assert not page.run("return document.querySelector('#own').checkVisibility()")
    assert page.complaints() == []


def test_notes_are_played_by_pointer_by_keys_and_by_midi(driver, alone):
    driver.get(alone.entry)
    page = PlayPage(driver, alone.address)
    names = page.run("return [...document.querySelectorAll('.dial')].map((dial) => dial.ariaLabel)")
    note = next(knob for knob, name in enumerate(names) if name.startswith("note number"))
    page.click("#keyboard rect[data-note='48']")
    assert page.number(note) == 48
    page.run("document.querySelector('#keyboard svg').focus()")
    page.press(RIGHT)
    assert (page.number(note), page.text("#note")) == (49, "C♯3")
    page.press("d")
    assert (page.number(note), page.text("#note")) == (52, "E3")
    page.run("navigator.requestMIDIAccess = async () => ({ inputs: new Map([['one', window.midi = {}]]) })")
    page.click("#midi")
    page.wait(lambda: page.text("#midi") == "MIDI: 1 input")
    page.run("midi.onmidimessage({ data: [0x90, 45, 100] })")
    assert page.number(note) == 45
    page.wait(lambda: page.playing() == "Sound")
    assert page.complaints() == []
