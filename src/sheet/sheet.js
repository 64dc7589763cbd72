/** The page of a dataset: what its parts do together, and the address that keeps its state. */

import { all, element, find, pageData, say } from "../pages/dom.js";
import { clamp } from "../pages/formats.js";
import { listenToKeys } from "../pages/keys.js";
import { PlayerBar } from "../pages/player_bar.js";
import { valueText } from "../pages/values.js";
import { Filters } from "./filters.js";
import { Grid } from "./grid.js";
import { RecordView } from "./record.js";
import { sourceOf } from "./sources.js";
import { Table, readBins, writeBins } from "./table.js";

const data = pageData();
const source = sourceOf(data);
const KEPT_SOUNDS = 32;
const NUMBER = "number"; // the order that no column makes
const WAIT = 90; // ms that a record stays before its sound is asked for unheard
const SETTLED = 300; // ms without a change before the address is written

const SIZES = { usual: 88, least: 40, most: 320 }; // pixels, width of a picture
const STEP = 16; // pixels, from one width to the next by keys

const state = {
  split: data.first,
  channel: data.channel,
  sort: null, // number of a column
  falling: false,
  size: SIZES.usual,
  record: null,
  open: false,
  order: new Uint32Array(0),
  sortValues: null,
};

// ----- parts

const tables = new Map(Object.entries(data.splits).map(([split, { n }]) =>
  [split, new Table(data.columns, n, (number) => source.column(split, number))]));
const table = () => tables.get(state.split);
const channelShown = () => data.splits[state.split].channels[state.channel];

const bar = new PlayerBar(find("#record .sound"), ["sound"], {
  press: togglePlay,
  toggle: togglePlay,
  onChange: showPlayer,
  onMove: (now) => recordView.follow(now),
});
const { player } = bar;
const grid = new Grid(find("#view"), source, data, { textsOf, onError: complain });
const recordView = new RecordView(find("#record"), data, (seconds) => player.seek(seconds));
const filters = new Filters(find("#filters"), data.columns, changeFilter);
const narrow = matchMedia("(max-width: 62rem)"); // where filters and a record cover the grid

/** The texts below a picture: its number, and what it is sorted by. */
function textsOf(record) {
  if (state.sort === null || !state.sortValues) return [`${record}`, ""];
  return [`${record}`, valueText(data.columns[state.sort], state.sortValues[record]).slice(0, 40)];
}

function complain(error) {
  if (error?.name === "AbortError") return;
  find("#trouble").textContent = error.message;
  find("#trouble").hidden = false;
}

// ----- the list

/** Show the records that pass the filters, in their order. */
async function list() {
  const shown = table();
  const { sort, falling } = state;
  try {
    const values = sort === null ? null : (await shown.column(sort)).values;
    const order = await shown.order(sort, falling);
    if (shown !== table() || sort !== state.sort || falling !== state.falling) return;
    Object.assign(state, { order, sortValues: values });
  } catch (error) {
    complain(error);
    return;
  }
  grid.list(state.order);
  const [n, total] = [state.order.length, shown.n].map((count) => count.toLocaleString("en"));
  find("#count").textContent = `${shown.filtered ? `${n} of ${total}` : total} ${state.split} records`;
  find("#nothing").hidden = state.order.length > 0;
  find("#clear").disabled = !shown.filtered;
  filters.show();
  writeAddress();
}

async function changeFilter(number, passes) {
  try {
    await table().filter(number, passes);
  } catch (error) {
    complain(error);
  }
  find("#view").scrollTop = 0;
  await list();
}

function clearFilters() {
  table().clear();
  list();
  say("All records are shown");
}

async function sortBy(sort, falling = state.falling) {
  Object.assign(state, { sort, falling });
  showControls();
  await list();
  find("#view").scrollTop = 0;
  say(`Sorted by ${sort === null ? NUMBER : data.columns[sort].name}, ${falling ? "falling" : "rising"}`);
}

/** Show the records of a split; filters of columns that have the same classes in both go along. */
async function openSplit(split) {
  if (split === state.split || !tables.has(split)) return;
  const before = table();
  player.pause();
  Object.assign(state, { split, record: null, open: false });
  table().clear();
  for (const [number, { grid: classes }] of data.columns.entries()) {
    const passes = classes && before.filterOf(number);
    if (passes) await table().filter(number, passes);
  }
  await show();
  say(`${split} records`);
}

function openChannel(channel) {
  state.channel = channel;
  grid.open(state.split, channel, channelShown());
  showControls();
  showRecord();
  writeAddress();
  say(channelShown().name);
}

/** Show everything anew. */
async function show() {
  find("#view").scrollTop = 0;
  grid.width = state.size;
  grid.open(state.split, state.channel, channelShown());
  filters.open(table());
  showControls();
  choose(state.record);
  await list();
  if (state.record !== null) revealCurrent();
}

function showControls() {
  find("#sort").value = state.sort === null ? NUMBER : data.columns[state.sort].key;
  find("#falling").setAttribute("aria-pressed", state.falling);
  find("#falling span").textContent = state.falling ? "↓" : "↑";
  find("#channel").value = state.channel;
  find("#size").value = state.size;
  find("#go").max = table().n - 1;
  find("#go").placeholder = `0 to ${table().n - 1}`;
  find("#go").value = state.record ?? "";
  for (const button of all("#splits button")) button.setAttribute("aria-pressed", button.dataset.split === state.split);
}

const resizeBy = (pixels) => resize(state.size + pixels);

function resize(width) {
  state.size = clamp(width, SIZES.least, SIZES.most);
  grid.resize(state.size);
  showControls();
  writeAddress();
}

// ----- a record

const titleOf = (record) => `${state.split} ${record}`;

function choose(record) {
  state.record = record;
  grid.current = record;
  grid.draw();
  find("#option").textContent = record === null ? "" : titleOf(record);
  if (record === null) find("#view").removeAttribute("aria-activedescendant");
  else find("#view").setAttribute("aria-activedescendant", "option");
  find("#go").value = record ?? "";
  showRecord();
  writeAddress();
}

const placeOfCurrent = () => (state.record === null ? -1 : state.order.indexOf(state.record));

function revealCurrent() {
  const place = placeOfCurrent();
  if (place >= 0) grid.reveal(place);
}

/** Go some places on in the order. */
function step(places) {
  if (!state.order.length) return;
  choose(state.order[clamp(placeOfCurrent() + places, 0, state.order.length - 1)]);
  revealCurrent();
  say(titleOf(state.record));
}

function openRecord(record) {
  if (record === null) return;
  state.open = true;
  choose(record);
  if (narrow.matches) find("#record").focus();
  revealCurrent();
  say(titleOf(record));
}

function closeRecord() {
  if (!state.open) return false;
  state.open = false;
  showRecord();
  writeAddress();
  find("#view").focus({ preventScroll: true });
  return true;
}

let asked = new AbortController();

/** Fetch what the panel and the player need of the record, unless another one is chosen meanwhile. */
async function showRecord() {
  asked.abort();
  asked = new AbortController();
  const { signal } = asked;
  const { record, split, channel, open } = state;
  document.body.classList.toggle("record", open && record !== null);
  find("#record").hidden = !open || record === null;
  find("#trouble").hidden = true;
  if (record === null || (!open && !player.playing)) return;
  try {
    if (open) {
      const shown = data.splits[split].channels;
      const { entries, images } = await source.record(split, record, data.columns.length, shown.length, signal);
      const whence = data.splits[split].sources ? await source.whence(split, record, signal) : null;
      if (signal.aborted) return;
      recordView.show(titleOf(record), entries, images[channel], shown[channel], whence);
    }
    if (!player.playing) await new Promise((resolve) => setTimeout(resolve, WAIT));
    if (!signal.aborted) await loadSound(signal);
  } catch (error) {
    complain(error);
  }
}

const sounds = new Map(); // those that were heard last
let loaded = null; // split and number of the sound that the player has

/** Give the player the sound of the record; what plays goes on with it. Whether it has one. */
async function loadSound(signal) {
  const { split, record } = state;
  const name = titleOf(record);
  if (!source.hasSound(split, record)) {
    player.pause();
    recordView.hear(null, data.sound.possible ? "Its sound is not in this file." : data.sound.how);
    return false;
  }
  if (!sounds.has(name)) {
    recordView.hear(null);
    sounds.set(name, await source.sound(split, record, signal).catch((error) => {
      if (!signal?.aborted) recordView.hear(null, `No sound: ${error.message}`);
      throw error;
    }));
    if (sounds.size > KEPT_SOUNDS) sounds.delete(sounds.keys().next().value);
  }
  if (name !== titleOf(state.record)) return false;
  const sound = sounds.get(name);
  recordView.hear(sound);
  if (loaded !== name) {
    loaded = name;
    player.load([sound.samples], sound.rate);
  }
  return true;
}

async function togglePlay() {
  if (player.playing) {
    player.pause();
    return;
  }
  if (state.record === null) step(0);
  if (state.record === null) return;
  try {
    if (await loadSound()) player.play();
  } catch (error) {
    complain(error);
  }
}

function showPlayer() {
  grid.playing = player.playing ? state.record : null;
  grid.draw();
  find("#play span").textContent = player.playing ? "Pause" : "Play";
}

// ----- the address

let written = "";
let writing = 0;

/** Keep the state in the address's fragment, before long: browsers refuse changes that come too often. */
function writeAddress() {
  clearTimeout(writing);
  writing = setTimeout(writeNow, SETTLED);
}

function writeNow() {
  const words = new URLSearchParams({ split: state.split });
  if (state.channel !== data.channel) words.set("channel", state.channel);
  if (state.sort !== null) words.set("sort", data.columns[state.sort].key);
  if (state.falling) words.set("falling", "1");
  if (state.size !== SIZES.usual) words.set("size", state.size);
  for (const [number, { key }] of data.columns.entries()) {
    const passes = table().filterOf(number);
    if (passes) words.set(`only.${key}`, writeBins(passes));
  }
  if (state.record !== null) words.set("record", state.record);
  if (state.open) words.set("open", "1");
  written = `#${words}`;
  if (location.hash !== written) history.replaceState(null, "", written);
}

/** Take the state from the fragment; what makes no sense there is left out. */
async function readAddress() {
  const words = new URLSearchParams(location.hash.slice(1));
  const whole = (name, end) => {
    const number = Number(words.get(name));
    return words.has(name) && Number.isInteger(number) && number >= 0 && number < end ? number : null;
  };
  state.split = tables.has(words.get("split")) ? words.get("split") : data.first;
  state.channel = whole("channel", data.splits[state.split].channels.length) ?? data.channel;
  const sort = data.columns.findIndex(({ key }) => key === words.get("sort"));
  state.sort = sort < 0 ? null : sort;
  state.falling = words.get("falling") === "1";
  state.size = clamp(whole("size", 1000) ?? SIZES.usual, SIZES.least, SIZES.most);
  state.record = whole("record", table().n);
  state.open = words.get("open") === "1" && state.record !== null;
  table().clear();
  for (const [number, { key }] of data.columns.entries()) {
    const text = words.get(`only.${key}`);
    if (text !== null) await table().filter(number, readBins(text, (await table().column(number)).n));
  }
}

// ----- hands

function fill() {
  const options = [[NUMBER, NUMBER], ...data.columns.map(({ key, name }) => [key, name])];
  find("#sort").append(...options.map(([value, name]) => element("option", { value }, name)));
  const { channels } = data.splits[state.split];
  find("#channel").append(...channels.map(({ name }, number) => element("option", { value: number }, name)));
  find("#channel-choice").hidden = channels.length < 2;
  for (const [split, { n }] of Object.entries(data.splits)) {
    const count = element("small", {}, n.toLocaleString("en"));
    const button = element("button", { type: "button", "data-split": split }, `${split} `, count);
    button.addEventListener("click", () => openSplit(split));
    find("#splits").append(button);
  }
  const facts = [...data.facts, ["sounds", data.sound.how], ...(data.saved ? [["this file", data.saved.holds]] : [])];
  const line = ([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, text));
  find("#facts dl").append(...facts.map(line));
}

function toggleFilters(shown = !document.body.classList.contains("filters")) {
  document.body.classList.toggle("filters", shown);
  find("#show-filters").setAttribute("aria-expanded", shown);
}

const otherSplit = () => [...tables.keys()].find((split) => split !== state.split);
const otherChannel = () => (state.channel + 1) % data.splits[state.split].channels.length;
const chooseFirst = () => step(0);

/** A key, or some, as `listenToKeys` takes them; `act` gets whether it is the first of two with opposite meanings. */
const key = (shown, does, act, answers = shown, repeats = false) =>
  ({ shown, does, answers, repeats, act: (event) => act(event.key === answers[0]) });

/** Two keys that go some places back and on in the order; where a record covers the grid, up and down scroll that. */
const moves = (shown, does, answers, places, isVertical = true) => key(shown, does, (isBack) => {
  if (isVertical && narrow.matches && state.open) return false;
  return step(isBack ? -places() : places());
}, answers, true);

const RECORD_KEYS = [
  moves(["←", "→"], "The record before, the next one", ["ArrowLeft", "ArrowRight"], () => 1, false),
  moves(["↑", "↓"], "A row up, a row down", ["ArrowUp", "ArrowDown"], () => grid.nColumns),
  moves(["Page Up", "Page Down"], "A screen up, a screen down", ["PageUp", "PageDown"], () => grid.nInView),
  moves(["Home", "End"], "The first, the last one", ["Home", "End"], () => state.order.length),
  key(["Enter"], "Open the record", () => (state.record === null ? chooseFirst() : openRecord(state.record))),
  key(["Esc"], "Close the record, or the filters", () => closeRecord() || toggleFilters(false), ["Escape"]),
  key(["G"], "Go to a record by its number", () => find("#go").select()),
];
const SIGHT_KEYS = [
  key(["T"], "Training or test records", () => openSplit(otherSplit())),
  key(["C"], "The next channel", () => openChannel(otherChannel())),
  key(["R"], "Rising or falling order", () => sortBy(state.sort, !state.falling)),
  key(["F"], "Show or hide the filters", () => toggleFilters()),
  key(["A"], "Show all: drop the filters", clearFilters),
  key(["−", "+"], "Smaller, larger pictures", (less) => resizeBy(less ? -STEP : STEP), ["-", "+", "="], true),
];

function listen() {
  listenToKeys([
    { title: "Records", keys: RECORD_KEYS },
    { title: "Listen", keys: bar.keys },
    { title: "What is shown", keys: SIGHT_KEYS },
  ], find("#keys"));
  find("#view").addEventListener("click", (event) => openRecord(grid.recordUnder(event)));
  find("#sort").addEventListener("change", ({ target }) => {
    const column = data.columns.findIndex((described) => described.key === target.value);
    sortBy(column < 0 ? null : column);
  });
  find("#falling").addEventListener("click", () => sortBy(state.sort, !state.falling));
  find("#channel").addEventListener("change", ({ target }) => openChannel(Number(target.value)));
  find("#size").addEventListener("input", ({ target }) => resize(Number(target.value)));
  find("#go").addEventListener("keydown", ({ key: pressed }) => pressed === "Enter" && find("#view").focus());
  find("#go").addEventListener("change", ({ target }) => {
    const number = Math.round(Number(target.value));
    if (target.value === "" || !(number >= 0 && number < table().n)) showControls();
    else openRecord(number);
  });
  find("#clear").addEventListener("click", clearFilters);
  find("#show-filters").addEventListener("click", () => toggleFilters());
  find("#hide-filters").addEventListener("click", () => toggleFilters(false));
  find("#about").addEventListener("click", () => find("#facts").showModal());
  find("#previous").addEventListener("click", () => step(-1));
  find("#next").addEventListener("click", () => step(1));
  find("#close").addEventListener("click", closeRecord);
  window.addEventListener("hashchange", () => location.hash !== written && readAddress().then(show));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    grid.draw();
    filters.show();
  });
}

fill();
listen();
toggleFilters(!narrow.matches);
readAddress().catch(complain).then(show).then(() => { document.documentElement.dataset.ready = ""; });
