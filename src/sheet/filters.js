/** The filters beside the grid: of each column its distribution, with a range or with boxes of its classes. */

import { colourOf, element } from "../pages/dom.js";
import { surface } from "../pages/pictures.js";
import { withUnits } from "../pages/tables.js";
import { valueText, valueWithUnits } from "../pages/values.js";

const MOST_BOXES = 24; // classes that have a box each; more are a range

export class Filters {
  #panels;
  #onChange;

  /**
   * @param {HTMLElement} root Gets a panel for each column.
   * @param {object[]} columns Their descriptions.
   * @param {Function} onChange Of the column's number and the bins that pass (null: all).
   */
  constructor(root, columns, onChange) {
    this.#onChange = onChange;
    this.#panels = columns.map((column, number) => new Panel(column, (passes) => onChange(number, passes)));
    root.append(...this.#panels.map((panel) => panel.root));
    // A dataset may have hundreds of columns: those are read that come into sight.
    const watcher = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const panel = this.#panels.find(({ root: own }) => own === target);
        panel.visible = isIntersecting;
        if (isIntersecting) panel.show();
      }
    }, { root, rootMargin: "200px" });
    for (const panel of this.#panels) watcher.observe(panel.root);
  }

  /** Show a table's numbers and filters. */
  open(table) {
    for (const [number, panel] of this.#panels.entries()) panel.open(table, number);
  }

  /** Show what has changed. */
  show() {
    for (const panel of this.#panels) if (panel.visible) panel.show();
  }
}

/** The filter of one column. */
class Panel {
  #column;
  #onChange;
  #table = null;
  #number = 0;
  #built = null; // the table whose controls are shown

  constructor(column, onChange) {
    this.#column = column;
    this.#onChange = onChange;
    this.visible = false;
    const label = `Show all of ${column.name}`;
    this.clear = element("button", { type: "button", class: "clear", "aria-label": label }, "All");
    this.clear.hidden = true;
    this.clear.addEventListener("click", () => onChange(null));
    this.body = element("div", { class: "body" });
    const heading = element("h3", {}, ...withUnits(column.name, column.names.length ? "" : column.units));
    if (column.about) heading.title = column.about;
    const head = element("div", { class: "head" }, heading, this.clear);
    this.root = element("section", { class: "filter", "aria-label": column.name }, head, this.body);
  }

  open(table, number) {
    this.#table = table;
    this.#number = number;
    if (this.visible) this.show();
  }

  /** Draw the distribution, and set the controls to the filter. */
  async show() {
    const table = this.#table;
    try {
      const column = await table.column(this.#number);
      const counts = await table.counts(this.#number);
      if (table !== this.#table) return;
      if (this.#built !== table) {
        this.body.replaceChildren();
        const Controls = this.#isBoxes ? Boxes : Range;
        this.controls = new Controls(this.#column, column, this.#onChange);
        this.body.append(...this.controls.elements);
        this.#built = table;
      }
      const passes = table.filterOf(this.#number);
      this.clear.hidden = !passes;
      this.controls.show(counts, passes);
    } catch (error) {
      this.body.replaceChildren(element("p", { class: "note" }, error.message));
    }
  }

  get #isBoxes() {
    return this.#column.names.length > 0 && this.#column.names.length <= MOST_BOXES;
  }
}

/** How many records of a bin pass, of how many. */
function countText({ passing, all }, bin) {
  const [n, total] = [passing[bin], all[bin]].map((count) => count.toLocaleString("en"));
  return n === total ? total : `${n} of ${total}`;
}

/** A box to tick, with a name and a count. */
function box(name, onChange) {
  const input = element("input", { type: "checkbox" });
  const count = element("span", { class: "count" });
  const bar = element("i", { class: "bar" });
  input.addEventListener("change", onChange);
  const text = element("span", { class: "name", title: name }, name);
  return { input, count, bar, root: element("label", { class: "class" }, input, text, count, bar) };
}

/** Boxes of classes: none ticked is as all. */
class Boxes {
  constructor({ names }, { n, hasInactive }, onChange) {
    const bins = [...Array(n).keys(), ...(hasInactive ? [n] : [])];
    this.boxes = bins.map((bin) => ({ bin, ...box(names[bin] ?? "does not act", () => this.#change(n, onChange)) }));
    this.elements = this.boxes.map(({ root }) => root);
  }

  #change(n, onChange) {
    const passes = new Uint8Array(n + 1);
    for (const { bin, input } of this.boxes) passes[bin] = input.checked ? 1 : 0;
    const ticked = this.boxes.filter(({ input }) => input.checked).length;
    onChange(ticked && ticked < this.boxes.length ? passes : null);
  }

  show(counts, passes) {
    const most = Math.max(1, ...counts.all);
    for (const { bin, input, count, bar } of this.boxes) {
      input.checked = passes ? passes[bin] === 1 : false;
      count.textContent = countText(counts, bin);
      bar.style.width = `${(100 * counts.passing[bin]) / most}%`;
    }
  }
}

/** A range under a histogram: two sliders, and a box for the records on which the parameter does not act. */
class Range {
  constructor(description, column, onChange) {
    Object.assign(this, { description, column });
    this.canvas = element("canvas", { class: "histogram", role: "img" });
    this.sliders = ["Lowest", "Highest"].map((end) => this.#slider(`${end} ${description.name}`, onChange));
    this.text = element("p", { class: "ends" }, element("span"), element("span"));
    this.inactive = box("where it does not act", () => onChange(this.#passes()));
    this.elements = [element("div", { class: "slider" }, this.canvas, ...this.sliders), this.text];
    if (column.hasInactive) this.elements.push(this.inactive.root);
    this.inactive.input.checked = true;
  }

  #slider(name, onChange) {
    const slider = element("input", { type: "range", min: 0, max: this.column.n - 1, step: 1, "aria-label": name });
    slider.addEventListener("input", () => {
      const [low, high] = this.sliders.map(({ value }) => Number(value));
      if (low > high) slider.value = slider === this.sliders[0] ? high : low; // the one does not pass the other
      onChange(this.#passes());
    });
    return slider;
  }

  #passes() {
    const { n, hasInactive } = this.column;
    const [low, high] = this.sliders.map(({ value }) => Number(value));
    const inactive = !hasInactive || this.inactive.input.checked;
    if (low === 0 && high === n - 1 && inactive) return null;
    const passes = new Uint8Array(n + 1).fill(1, low, high + 1);
    passes[n] = hasInactive && inactive ? 1 : 0;
    return passes;
  }

  show(counts, passes) {
    const { n, min, step, hasInactive } = this.column;
    const ends = passes ? [passes.indexOf(1), passes.subarray(0, n).lastIndexOf(1)] : [0, n - 1];
    ends.forEach((end, i) => {
      const value = min + end * step;
      this.sliders[i].value = end;
      this.sliders[i].setAttribute("aria-valuetext", valueWithUnits(this.description, value));
      this.text.children[i].textContent = valueText(this.description, value);
    });
    if (hasInactive) {
      this.inactive.input.checked = passes ? passes[n] === 1 : true;
      this.inactive.count.textContent = countText(counts, n);
      this.inactive.bar.style.width = `${(100 * counts.passing[n]) / Math.max(1, ...counts.all)}%`;
    }
    this.#draw(counts, ends);
  }

  /**
   * All records in pale bars; over them those that pass the filters of other columns, in colour those within the range.
   * Each goes up to its own highest bar: what can be compared are their shapes.
   */
  #draw({ passing, all }, [first, last]) {
    const { pen, width, height } = surface(this.canvas);
    const { n } = this.column;
    const [most, mostPassing] = [all, passing].map((counts) => Math.max(1, ...counts.subarray(0, n)));
    const [pale, faint, strong] = ["--band", "--strong-line", "--accent"].map(colourOf);
    const bar = width / n;
    const gap = bar > 4 ? 1 : 0;
    for (let bin = 0; bin < n; bin++) {
      const colour = bin >= first && bin <= last ? strong : faint;
      const bars = [[all[bin] / most, pale], [passing[bin] / mostPassing, colour]];
      for (const [share, fill] of bars) {
        const tall = share ? Math.max(1, share * (height - 1)) : 0;
        pen.fillStyle = fill;
        pen.fillRect(bin * bar, height - tall, bar - gap, tall);
      }
    }
    this.canvas.setAttribute("aria-label", `How often each value of ${this.description.name} occurs`);
  }
}
