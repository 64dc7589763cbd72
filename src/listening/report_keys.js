/** What the keys of the report do. */

import { find, say } from "../pages/dom.js";

/** All keys, in groups, for a page. */
export const keysOf = (page) => [
  {
    title: "Listen",
    keys: [...keysOfPlayer(page), ...keysOfSides(page), ...keysOfOptions(page, () => page.openBlind())],
  },
  { title: "Choose a sound", keys: [...keysOfCards(page), keyOfList(page)] },
  {
    title: "On the spectrograms",
    keys: [
      { shown: ["←", "→", "↑", "↓"], does: "Move the crosshair, when they have the focus" },
      { shown: ["Enter"], does: "Go to the time of the crosshair" },
    ],
  },
  { title: "This list", keys: [{ shown: ["?"], does: "Show it; Esc closes it" }] },
];

const keysOfPlayer = (page) => [
  {
    shown: ["Space"], does: "Play or pause", answers: [" "],
    act: (event) => page.playFrom(event.target.closest("#rows tr")),
  },
  { shown: ["0"], does: "Back to the beginning", answers: ["0"], act: () => page.player.seek(0) },
  {
    shown: ["←", "→"], does: "Switch sides at the same position", answers: ["ArrowLeft", "ArrowRight"],
    act: (event) => page.nextSide(event.key === "ArrowLeft" ? -1 : 1),
  },
];

const keysOfSides = (page) => page.data.sides.map((name, side) => ({
  shown: [`${side + 1}`], does: `Listen to ${name.toLowerCase()}`, answers: [`${side + 1}`],
  act: () => page.chooseSide(side),
}));

const keysOfOptions = ({ player }, openBlind) => [
  { shown: ["L"], does: "Loop", answers: ["l", "L"], act: () => flip("loop", () => player.loop(!player.looping)) },
  {
    shown: ["E"], does: "Equal level: lower the louder sides to the RMS level of the softest", answers: ["e", "E"],
    act: () => flip("match", () => player.match(!player.matched)),
  },
  { shown: ["X"], does: "Blind test (ABX)", answers: ["x", "X"], act: openBlind },
];

const keysOfCards = (page) => page.data.cards.map(([label, number]) => ({
  shown: [label[0]], does: `Play the ${label.toLowerCase()} sound`, answers: [label[0], label[0].toLowerCase()],
  act: () => {
    page.choose(number);
    page.player.play();
  },
}));

const keyOfList = (page) => ({
  shown: ["↑", "↓"], does: "Another sound, while the list is in view", answers: ["ArrowUp", "ArrowDown"],
  repeats: true, act: (event) => isListInView() && page.step(event.key === "ArrowUp" ? -1 : 1),
});

/** Change an option, and say what its checkbox is then. */
function flip(id, change) {
  change();
  say(`${find(`label:has(#${id})`).textContent.trim()} ${find(`#${id}`).checked ? "on" : "off"}`);
}

/** Whether the section of the sounds covers the middle of the window or has the focus. */
function isListInView() {
  const { top, bottom } = find("#sounds").getBoundingClientRect();
  const middle = window.innerHeight / 2;
  return (top < middle && bottom > middle) || document.activeElement.closest("#sounds, #player") !== null;
}
