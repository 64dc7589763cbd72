/** Keys of a page, listed in a dialog on "?". */

import { element, find } from "./dom.js";

const hands = { onPointer: false, taken: false };

/**
 * Answer keys.
 * @param {object[]} groups `title`, and `keys`: `shown` (texts) and `does` (a sentence), and of those answered here
 *   `answers` (names of keys, as of KeyboardEvent.key; of a letter, either case), `act` (of the event; false where the key is the browser's) and
 *   `repeats`.
 * @param {HTMLDialogElement} dialog Gets the list; opened by "?" and by every element with `data-keys`.
 */
export function listenToKeys(groups, dialog) {
  const own = { shown: ["?"], does: "Show it; Esc closes it", answers: ["?"], act: () => dialog.showModal() };
  const listed = [...groups, { title: "This list", keys: [own] }];
  const answered = listed.flatMap(({ keys }) => keys.filter((key) => key.answers));
  const table = new Map(answered.flatMap((key) => key.answers.map((name) => [nameOf(name), key])));
  fillDialog(listed, dialog);
  for (const button of document.querySelectorAll("[data-keys]")) {
    button.addEventListener("click", () => dialog.showModal());
  }
  document.addEventListener("keydown", (event) => answer(event, table));
  // A button fires at the end of a press of space, which is answered at its beginning here.
  document.addEventListener("keyup", (event) => event.key === " " && hands.taken && event.preventDefault());
  document.addEventListener("pointerdown", () => { hands.onPointer = true; });
}

/** A key's name: that of a letter is the same with and without Shift. */
const nameOf = (key) => (key.length === 1 ? key.toLowerCase() : key);

function answer(event, table) {
  if (event.key === "Tab") hands.onPointer = false;
  hands.taken = false;
  const key = table.get(nameOf(event.key));
  if (!key || isTheirs(event)) return;
  if (event.repeat && !key.repeats) {
    hands.taken = true;
  } else {
    hands.taken = key.act(event) !== false;
  }
  if (hands.taken) event.preventDefault();
}

/** Whether a key belongs to the browser or to the control that has the focus. */
function isTheirs(event) {
  const { target, key } = event;
  if (event.altKey || event.ctrlKey || event.metaKey) return true;
  if (event.shiftKey && !/^\S$/u.test(key)) return true; // signs need Shift on some keyboards, Shift+Space scrolls up
  if (find("dialog[open]") || target.closest("select, textarea, input:not([type=checkbox], [type=radio])")) return true;
  // A control that was clicked has the focus; it is meant to get the key only if it was reached by keys.
  return (key === " " || key === "Enter") && !hands.onPointer && target.closest("button, input, a, summary") !== null
    && !target.closest("[data-space]");
}

function fillDialog(groups, dialog) {
  const line = ({ shown, does }) => element("div", {}, keysOf(shown), element("dd", {}, does));
  const parts = groups.flatMap(({ title, keys }) => [
    element("h3", {}, title),
    element("dl", { class: "keys" }, ...keys.map(line)),
  ]);
  find(".body", dialog).replaceChildren(...parts);
}

const keysOf = (shown) => element("dt", {}, ...shown.flatMap((text) => [element("kbd", {}, text), " "]));
