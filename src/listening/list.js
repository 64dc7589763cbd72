/** The list of all sounds: sorted by a metric, by the error of a parameter, by name. */

import { all, element, find, say } from "../pages/dom.js";
import { markRow, sortedBy } from "../pages/tables.js";

export class List {
  #rows = all("#rows tr");
  #sortBy = find("#sort-by");
  #order = find("#order");

  /** @param {Function} onChoose Of the number of a sound. @param {Function} onSort After another order. */
  constructor(data, onChoose, onSort) {
    this.data = data;
    this.#fillSorting();
    this.#sort();
    this.#rows.forEach((row, i) => row.addEventListener("click", () => onChoose(i)));
    for (const control of [this.#sortBy, this.#order]) {
      control.addEventListener("change", () => {
        this.#sort();
        onSort();
      });
    }
  }

  /** Numbers of the sounds as they stand. */
  get order() {
    return all("#rows tr").map((row) => Number(row.dataset.sound));
  }

  /** Show which sound is the current one. */
  mark(number, focus) {
    markRow(this.#rows, number, find(".scroll"), focus);
  }

  #fillSorting() {
    const { figures, sounds, judge } = this.data;
    for (const group of new Set(figures.map((figure) => figure.group))) {
      const options = figures.flatMap((figure, i) => (figure.group === group ? [new Option(figure.label, i)] : []));
      this.#sortBy.append(element("optgroup", { label: group }, ...options));
    }
    this.#sortBy.append(new Option("Name", "name"), new Option("As given", "given"));
    const judged = figures.findIndex((figure) => figure.label === judge);
    this.#sortBy.value = figures.length ? Math.max(0, judged) : "given";
    find(".sorting").hidden = sounds.length < 2;
    find(".list").classList.toggle("single", sounds.length < 2);
    for (const part of all(".scroll .figure")) part.hidden = !figures.length;
  }

  #sort() {
    const figure = this.data.figures[this.#sortBy.value];
    this.#order.disabled = !figure;
    if (figure) this.#showFigures(figure);
    find("#rows").append(...this.#sorted(figure).map((i) => this.#rows[i]));
    const rising = figure && (this.#order.value === "best") === (figure.best === "lowest");
    const direction = rising ? "ascending" : "descending";
    find("#figure-column").setAttribute("aria-sort", figure ? direction : "none");
    find("#name-column").setAttribute("aria-sort", this.#sortBy.value === "name" ? "ascending" : "none");
    const order = figure ? `, ${this.#order.selectedOptions[0].text}` : "";
    say(`Sorted by ${this.#sortBy.selectedOptions[0].text}${order}`);
  }

  /** Numbers of the sounds in the order that is chosen; those without a value come last. */
  #sorted(figure) {
    const { sounds } = this.data;
    if (figure) return sortedBy(sounds.length, (i) => figure.badness[i], this.#order.value === "worst");
    const numbers = sounds.map((_, i) => i);
    if (this.#sortBy.value === "given") return numbers;
    return numbers.sort((a, b) => sounds[a].name.localeCompare(sounds[b].name, "en", { numeric: true }));
  }

  #showFigures({ label, units, texts, bars }) {
    find("#figure-column").replaceChildren(label, ...(units ? [" ", element("small", {}, units)] : []));
    this.#rows.forEach((row, i) => {
      const bar = element("span", { class: "bar" });
      bar.style.width = `calc((100% - 1.2rem) * ${bars[i]})`;
      find("td", row).replaceChildren(texts[i], bar);
    });
  }
}
