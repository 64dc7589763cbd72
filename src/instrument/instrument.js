/** The live page: what its parts do together, whoever makes the sounds. */

import { all, element, find, say } from "../pages/dom.js";
import { clamp } from "../pages/formats.js";
import { listenToKeys } from "../pages/keys.js";
import { PlayerBar } from "../pages/player_bar.js";
import { Answers, answersAbout } from "./answers.js";
import { keepColumns } from "./columns.js";
import { keep, presetOf } from "./keep.js";
import { Keyboard } from "./keyboard.js";
import { Knob } from "./knob.js";
import { Recorder } from "./recorder.js";
import { Search } from "./search.js";
import { Space, within } from "./space.js";
import { Stage } from "./stage.js";
import { State } from "./state.js";
import { Switches } from "./switches.js";

const LOST = "The server is away. The page goes on as soon as it is there again, at the same address.";
const NOTE = "note_number";
const VELOCITY = "note_velocity";
const MOST_PRESET = 1e6; // bytes
const SETTLED = 300; // ms without a change before the address is written

export class Instrument {
  #data;
  #engine;
  #space;
  #state;
  #number = 0; // of the newest request
  #asking = false; // whether one is about to be sent
  #wantsToPlay = false;
  #sound = null; // the message that is shown
  #sensitivity = null;
  #limits = null;
  #step = null; // of a search
  #recording = null; // `name` and `bytes` of the file that is heard
  #timer = null;

  /**
   * @param {object} data The page's.
   * @param {object} engine Makes sounds: `can` (what it can do), `open()`, `send(request, bytes)`, and calls
   *   `onmessage(message)` and `onstate(state)`, "connected" or "lost".
   */
  constructor(data, engine) {
    this.#data = data;
    this.#engine = engine;
    this.#space = new Space(data.parameters, data.fixed);
    this.#state = new State(data);
    this.#state.read(location.hash.slice(1));
    this.#build();
    this.#listen();
    this.#show();
    engine.onmessage = (message) => this.#take(message);
    engine.onstate = (state) => this.#connect(state);
    engine.open();
  }

  // ----- parts

  #build() {
    const { parameters, networks, perturbations, has_synth: hasSynth } = this.#data;
    const hands = (p) => ({
      turn: (value) => hasSynth && this.#change(() => this.#state.turn(p, value)),
      settle: () => this.#settle(),
      isSnapping: () => find("#snap").checked,
    });
    this.knobs = parameters.map((parameter, p) => new Knob(parameter, hands(p)));
    find("#knobs").replaceChildren(...this.knobs.map(({ root }) => root));
    keepColumns(find("#knobs"));
    this.sides = ["Sound", ...networks.map(({ title }) => title), ...(this.#engine.can.refine ? ["Refined"] : [])];
    this.bar = new PlayerBar(find("#player"), this.sides, {
      step: (places) => this.#toTest((this.#state.test ?? -1) + places),
      onChange: () => this.stage?.markSide(this.bar.player.side),
      onMove: (now) => this.stage?.follow(now),
    });
    const roots = { pictures: find("#pictures"), waveforms: find("#waveforms"), readout: find("#readout") };
    this.stage = new Stage(this.#data, roots, (seconds) => this.bar.player.seek(seconds));
    const take = hasSynth ? (value) => this.#turnTo(value) : null;
    this.answers = new Answers(this.#data, find("#said"), take);
    this.switches = new Switches(find("#switches"), this.#engine.can.perturb ? perturbations : [], {
      change: (perturb) => this.#change(() => { this.#state.perturb = perturb; }),
      settle: () => this.#settle(),
    });
    if (this.#engine.can.refine) {
      this.search = new Search(find("#search"), this.#data, {
        begin: () => this.#engine.send({ type: "refine", id: this.#number }),
        stop: () => this.#engine.send({ type: "stop", id: this.#number }),
        show: (step) => this.#showStep(step),
        take: (value) => this.#turnTo(value),
      });
    }
    this.#buildKeyboard();
    this.#introduce();
  }

  #buildKeyboard() {
    const note = this.#place(NOTE);
    if (note < 0 || !this.#data.has_synth) return;
    this.keyboard = new Keyboard(find("#keyboard"), this.#data.parameters[note], (key, velocity) => {
      this.#change(() => {
        this.#state.turn(note, key);
        const soft = this.#place(VELOCITY);
        if (velocity !== null && soft >= 0) {
          this.#state.turn(soft, within(this.#data.parameters[soft], velocity));
        }
      });
      this.#settle();
    });
    if (this.#data.local) this.keyboard.offerMidi(find("#midi"));
  }

  /** What does not change: who listens, and what there is nothing of. */
  #introduce() {
    const { networks, n_test: nTest, fixed, has_synth: hasSynth, how_to_train: howToTrain, local } = this.#data;
    const names = networks.map(({ title, run }, i) => element("span", { class: `side-${i + 1}`, title: run }, title));
    find("#listeners").replaceChildren(...(names.length ? names : [howToTrain]));
    find("#tests").hidden = !nTest;
    find("#test").max = nTest - 1;
    for (const id of ["#previous", "#next"]) find(id).disabled = !nTest;
    for (const id of ["#random", "#defaults", "#snap"]) find(id).disabled = !hasSynth;
    const same = fixed.map(({ name, value }) => `${name} ${Number(Number(value).toPrecision(4))}`).join(", ");
    find("#what").textContent = [
      hasSynth ? "Drag, or use arrow keys." : "No synth made these sounds: the knobs show what is read.",
      ...(networks.length && hasSynth ? ["In colour: what is read, its 90 % band, its error in steps."] : []),
      ...(same ? [`Fixed: ${same}.`] : []),
    ].join(" ");
    find("#own").hidden = !networks.length;
    if (!this.#engine.can.listen) {
      find("#own h2").textContent = "Presets";
      find("#own-about").textContent = "what Keep wrote, or drop it anywhere on the page";
      find("#file").accept = ".json";
    }
    const canRecord = this.#engine.can.record && Recorder.isPossible;
    find("#record").hidden = !canRecord;
    if (!local) find("#own-about").textContent += "; microphone and MIDI need localhost or https";
  }

  #place(name) {
    return this.#data.parameters.findIndex((parameter) => parameter.name === name);
  }

  // ----- changes

  /** Change the state, show it, and ask for its sound. */
  #change(act) {
    act();
    this.search?.clear();
    this.#show();
    this.#ask();
  }

  /** End a step: it can be undone, and is played. */
  #settle() {
    this.#state.settle();
    this.#wantsToPlay = find("#auto").checked;
    this.#show();
    if (!this.#asking && this.#sound?.id === this.#number) this.#playIfWanted();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#writeAddress(), SETTLED);
  }

  #doOnce(act) {
    this.#change(act);
    this.#settle();
  }

  #turnTo(value) {
    const known = (number, p) => (number === null ? this.#state.value[p] : within(this.#data.parameters[p], number));
    this.#doOnce(() => this.#state.set({ value: value.map(known) }));
    say("The knobs are turned to it");
  }

  #toTest(number) {
    const { n_test: nTest } = this.#data;
    if (!nTest || !Number.isFinite(number)) return;
    this.#doOnce(() => this.#state.set({ test: clamp(Math.round(number), 0, nTest - 1) }));
  }

  #writeAddress() {
    history.replaceState(null, "", `#${this.#state.fragment}`);
  }

  // ----- the engine

  /** Ask for the sound of the state, once for all that changes together; browsers move pointers once a frame. */
  #ask() {
    this.#number += 1;
    if (this.#asking) return;
    this.#asking = true;
    queueMicrotask(() => {
      this.#asking = false;
      this.#engine.send(this.#request());
    });
  }

  #request() {
    const { value, perturb, test, file } = this.#state;
    const common = { id: this.#number, perturb };
    if (file) return { type: "file", ...common };
    if (test !== null) return { type: "test", number: test, ...common };
    return { type: "sound", value, ...common };
  }

  /** Have the networks listen to a recording. */
  #hear(name, bytes) {
    if (bytes.byteLength > this.#data.most_bytes) {
      this.#complain(`${name}: ${Math.round(bytes.byteLength / 1e6)} MB are more than the ${this.#data.most_bytes >> 20} that are taken.`);
      return;
    }
    this.#recording = { name, bytes };
    this.search?.clear();
    this.#state.set({ file: true });
    this.#number += 1;
    this.#wantsToPlay = find("#auto").checked;
    this.#sendRecording();
    this.#show();
  }

  #sendRecording() {
    const { name, bytes } = this.#recording;
    const { perturb } = this.#state;
    this.#engine.send({ type: "file", id: this.#number, name, size: bytes.byteLength, perturb }, bytes);
  }

  #connect(state) {
    document.body.classList.toggle("lost", state === "lost");
    if (state === "lost") {
      this.#complain(LOST);
      return;
    }
    this.#complain("");
    if (this.#state.file) this.#sendRecording();
    else if (this.#data.has_synth || this.#state.test !== null) this.#ask();
    else document.documentElement.dataset.ready = "";
  }

  #take(message) {
    const { type, id } = message;
    if (type === "error") {
      this.#complain(message.text);
      document.documentElement.dataset.ready = "";
      if (this.search?.running) this.search.clear();
      return;
    }
    if (type === "sound") {
      if (id >= (this.#sound?.id ?? 0)) this.#hearNew(message);
      return;
    }
    if (id !== this.#number) return;
    if (type === "sensitivity") this.#sensitivity = message.db_per_step;
    else if (type === "limits") this.#limits = message;
    else if (type === "refine" || type === "refined") this.search?.add(message);
    this.#showNumbers();
  }

  #hearNew(message) {
    this.#complain("");
    this.#sound = message;
    this.#sensitivity = this.#limits = null;
    const { test } = this.#state;
    if (message.source === "test" && test !== null && message.id === this.#number) {
      this.#state.value = message.value.map((number, p) => number ?? this.#state.value[p]);
      this.#state.settle();
    }
    this.#show();
    this.#showSound();
    find("#save").disabled = !message.value;
    document.documentElement.dataset.ready = "";
    if (message.id === this.#number) this.#playIfWanted();
  }

  #playIfWanted() {
    const wanted = this.#wantsToPlay;
    this.#wantsToPlay = false;
    if (!wanted || !navigator.userActivation.hasBeenActive) return; // no browser plays before a hand was at it
    const { player } = this.bar;
    player.seek(0);
    player.play();
  }

  // ----- what is shown

  #complain(text) {
    find("#trouble").textContent = text;
    find("#trouble").hidden = !text;
  }

  /** Show the state: knobs, keyboard, switches, buttons. */
  #show() {
    const { value, perturb, test, file, canUndo, canRedo } = this.#state;
    const active = this.#space.active(value);
    this.knobs.forEach((knob, p) => {
      knob.show(value[p], !file && this.#data.has_synth);
      knob.act(active[p]);
    });
    this.keyboard?.show(value[this.#place(NOTE)]);
    this.switches.show(perturb);
    find("#undo").disabled = !canUndo;
    find("#redo").disabled = !canRedo;
    find("#test").value = test ?? "";
    const now = file ? this.#recording?.name : test === null ? "From the knobs" : `Test sound ${test}`;
    find("#now").textContent = find("#now").title = now ?? "";
  }

  /** Show the sound that came: pictures, answers, numbers; and have the player hold it. */
  #showSound() {
    const sound = this.#sound;
    const { waveform, picture } = sound.arrays;
    const own = { name: "Sound", wave: waveform, pixels: picture, ends: sound.ends };
    const others = this.#data.networks.map(({ title }, i) => {
      const { waveform: wave, picture: pixels, ends } = sound.answers[i];
      return wave ? { name: title, wave: sound.arrays[wave], pixels: sound.arrays[pixels], ends } : null;
    });
    const found = this.#step && this.#step.arrays.waveform
      ? { name: "Refined", wave: this.#step.arrays.waveform, pixels: this.#step.arrays.picture, ends: this.#step.ends } : null;
    const sides = [own, ...others, found].slice(0, this.sides.length);
    this.stage.show(sides);
    const { player } = this.bar;
    const length = Math.max(...sides.map((side) => side?.wave.length ?? 0));
    const waves = sides.map((side) => padded((side ?? own).wave, length));
    player.exchange(waves, this.#data.sample_rate);
    if (!sides[player.side]) player.choose(0);
    all("#player .play").forEach((button, side) => { button.disabled = !sides[side]; });
    this.stage.markSide(player.side);
    this.knobs.forEach((knob, p) => knob.tell(answersAbout(sound, this.#data.parameters[p].name, p)));
    this.#showNumbers();
  }

  #showNumbers() {
    const [sensitivity, limits] = [this.#sensitivity, this.#limits];
    this.answers.show(this.#sound, limits?.texts ?? []);
    this.answers.fill(find("#numbers table"), this.#sound, sensitivity, limits?.std_steps ?? null);
    const comes = this.#engine.can.limits && this.#sound.source !== "file";
    this.knobs.forEach((knob, p) => knob.sense(sensitivity?.[p] ?? null, limits?.std_steps?.[p] ?? null, comes));
  }

  #showStep(step) {
    this.#step = step;
    this.knobs.forEach((knob, p) => knob.find(step ? step.value[p] : null));
    if (this.#sound) this.#showSound();
  }

  // ----- hands

  #listen() {
    const on = (id, kind, act) => find(id).addEventListener(kind, act);
    const { random, start, undo, redo } = this.#commands;
    on("#random", "click", random);
    on("#defaults", "click", start);
    on("#save", "click", () => this.#keep());
    on("#undo", "click", undo);
    on("#redo", "click", redo);
    on("#test", "change", ({ target }) => this.#toTest(target.value.trim() ? Number(target.value) : NaN));
    on("#test-before", "click", () => this.#toTest((this.#state.test ?? 1) - 1));
    on("#test-after", "click", () => this.#toTest((this.#state.test ?? -1) + 1));
    on("#volume", "input", ({ target }) => this.bar.player.soften(Number(target.value) ** 2));
    on("#file", "change", ({ target }) => this.#open(target.files[0]));
    this.bar.player.soften(Number(find("#volume").value) ** 2);
    addEventListener("hashchange", () => this.#doOnce(() => this.#state.read(location.hash.slice(1))));
    this.#listenToDrops();
    this.#listenToMicrophone();
    this.#listenToKeys();
  }

  get #commands() {
    const { has_synth: hasSynth } = this.#data;
    return {
      random: () => hasSynth && this.#doOnce(() => this.#state.randomize()),
      start: () => hasSynth && this.#doOnce(() => this.#state.toDefaults()),
      undo: () => this.#goBack(() => this.#state.undo(), "Undone"),
      redo: () => this.#goBack(() => this.#state.redo(), "Done again"),
    };
  }

  #goBack(act, said) {
    this.#doOnce(act);
    say(said);
  }

  #listenToDrops() {
    const veil = find("#drop");
    const isFile = ({ dataTransfer }) => [...(dataTransfer?.types ?? [])].includes("Files") && this.#data.networks.length > 0;
    addEventListener("dragover", (event) => {
      if (!isFile(event)) return;
      event.preventDefault();
      veil.hidden = false;
    });
    addEventListener("dragleave", (event) => { if (!event.relatedTarget) veil.hidden = true; });
    addEventListener("drop", (event) => {
      veil.hidden = true;
      if (!isFile(event)) return;
      event.preventDefault();
      this.#open(event.dataTransfer.files[0]);
    });
  }

  async #open(file) {
    if (!file) return;
    if (file.name.endsWith(".json")) {
      await this.#openPreset(file);
      return;
    }
    if (!this.#engine.can.listen) this.#complain(`${file.name}: this page opens what Keep wrote; make play listens to sounds.`);
    else if (file.size > this.#data.most_bytes) this.#hear(file.name, { byteLength: file.size });
    else this.#hear(file.name, await file.arrayBuffer());
    find("#file").value = "";
  }

  /** Turn the knobs to values that were kept. */
  async #openPreset(file) {
    const value = file.size < MOST_PRESET ? presetOf(this.#data, await file.text(), this.#state.value) : null;
    if (value) this.#turnTo(value);
    else this.#complain(`${file.name}: holds no parameters as Keep writes them.`);
    find("#file").value = "";
  }

  #keep() {
    if (!this.#sound?.value) return;
    keep(this.#data, "sound", this.#sound.value, this.#sound.arrays.waveform);
    say("Kept as sound.wav and sound.json");
  }

  #listenToMicrophone() {
    const button = find("#record");
    const show = (recording) => {
      button.setAttribute("aria-pressed", recording);
      find(".word", button).textContent = recording ? "Stop" : "Record";
    };
    const recorder = new Recorder((bytes, trouble) => {
      show(false);
      if (bytes) this.#hear("recording.wav", bytes);
      else this.#complain(trouble);
    });
    button.addEventListener("click", async () => {
      if (recorder.recording) recorder.stop();
      else await recorder.start();
      show(recorder.recording);
    });
  }

  #listenToKeys() {
    const { random, start, undo, redo } = this.#commands;
    const key = (shown, does, act) => ({ shown: [shown], does, answers: [shown], act });
    const click = (id) => () => find(id).click();
    listenToKeys([
      { title: "Listen", keys: this.bar.keys },
      { title: "Sounds", keys: [
        key("R", "Another sound", random), key("B", "All knobs to where they stood first", start),
        key("Z", "Undo", undo), key("Y", "Redo", redo), key("K", "Keep the sound and its parameters as files", click("#save")),
        ...(this.#data.n_test ? [key("T", "Next test sound", click("#test-after"))] : []),
        ...(this.search ? [key("F", "Refine, or stop it", click("#refine"))] : []),
        key("S", "Snap to steps, or not", click("#snap")), key("O", "Open a file", click("#file")),
      ] },
      { title: "On a knob", keys: [
        { shown: ["↑", "↓"], does: "A step; with Shift a tenth of one" }, { shown: ["PgUp", "PgDn"], does: "A tenth of the range" },
        { shown: ["Home", "End"], does: "The ends of the range" }, { shown: ["Enter"], does: "Type a number" },
        { shown: ["Del"], does: "Back to the start" },
      ] },
      ...(this.keyboard ? [{ title: "On the keyboard", keys: [
        { shown: ["A", "W", "S", "…"], does: "An octave of notes" }, { shown: ["←", "→"], does: "A semitone" },
        { shown: ["↑", "↓"], does: "An octave" },
      ] }] : []),
    ], find("#keys"));
  }
}

/** A sound with silence behind it, Float32Array. */
function padded(wave, length) {
  if (wave.length === length) return wave;
  const longer = new Float32Array(length);
  longer.set(wave);
  return longer;
}
