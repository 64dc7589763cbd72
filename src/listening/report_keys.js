/** What the keys of the report do. */

import { find, isInUse } from "../pages/dom.js";

/** All keys, in groups, for a page. */
export const keysOf = (page) => [
  {
    title: "Listen",
    keys: [
      ...page.bar.keys,
      { shown: ["X"], does: "Blind test (ABX)", answers: ["x"], act: () => page.openBlind() },
    ],
  },
  {
    title: "Choose a sound",
    keys: [...keysOfCards(page), ...page.bar.keysOfList(() => isInUse(find("#sounds"), "#sounds, #player"))],
  },
  {
    title: "On the spectrograms",
    keys: [
      { shown: ["←", "→", "↑", "↓"], does: "Move the crosshair, when they have the focus" },
      { shown: ["Enter"], does: "Go to the time of the crosshair" },
    ],
  },
];

const keysOfCards = (page) => page.data.cards.map(([label, number]) => ({
  shown: [label[0]], does: `Play the ${label.toLowerCase()} sound`, answers: [label[0]],
  act: () => {
    page.choose(number);
    page.player.play();
  },
}));
