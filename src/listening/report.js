"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // ----- elements

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, text] of Object.entries(attributes)) made.setAttribute(name, text);
    made.append(...children);
    return made;
  }

  const say = (text) => { find("#status").textContent = text; };
  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  // ----- sounds

  /** Samples of a mono WAV file of 16 bits with a header of 44 bytes. */
  function decodeWav(text) {
    const view = new DataView(bytesOf(text).buffer);
    const samples = new Float32Array((view.byteLength - 44) / 2);
    for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(44 + 2 * i, true) / 32767;
    return { samples, rate: view.getUint32(24, true) };
  }

  const decoded = new Map();
  /** Waveforms and spectrograms of a sound, decoded when it is first asked for: levels from 0 to 255, differences. */
  function decode(number) {
    if (!decoded.has(number)) {
      const { wav, image } = data.sounds[number];
      const waves = wav.map(decodeWav);
      const levels = image.map(bytesOf);
      decoded.set(number, {
        waves: waves.map((wave) => wave.samples),
        rate: waves[0].rate,
        duration: waves[0].samples.length / waves[0].rate,
        levels: [...levels, Int16Array.from(levels[1], (level, i) => level - levels[0][i])],
      });
    }
    return decoded.get(number);
  }

  const state = { sound: 0, side: 0, playing: false, looping: false, offset: 0, started: 0 };
  const buttons = all(".play");
  const seek = find("#seek");
  let context = null;
  let players = [];

  /** Where both sounds are, s: they run together all the time, one of them at gain 0. */
  function position() {
    const { duration } = decode(state.sound);
    if (!state.playing) return state.offset;
    const elapsed = state.offset + Math.max(0, context.currentTime - state.started);
    return state.looping ? elapsed % duration : Math.min(elapsed, duration);
  }

  /** Gains of both sides when they are audible: 1, or the ratio that gives the louder one the RMS level of the other. */
  function sideGains() {
    const norms = decode(state.sound).waves.map((wave) => Math.sqrt(wave.reduce((sum, x) => sum + x * x, 0)));
    const softer = Math.min(...norms);
    return norms.map((norm) => (find("#match").checked && softer > 0 ? softer / norm : 1));
  }

  function setGains() {
    const gains = sideGains();
    players.forEach(({ gain }, side) => {
      gain.gain.setTargetAtTime(side === state.side ? gains[side] : 0, context.currentTime, 0.003);
    });
  }

  function start() {
    const { waves, rate, duration } = decode(state.sound);
    context ??= new AudioContext();
    context.resume();
    if (state.offset >= duration) state.offset = 0;
    const gains = sideGains();
    state.started = context.currentTime + 0.02;
    state.looping = find("#loop").checked;
    players = waves.map((wave, side) => {
      const buffer = context.createBuffer(1, wave.length, rate);
      buffer.copyToChannel(wave, 0);
      const gain = new GainNode(context, { gain: side === state.side ? gains[side] : 0 });
      const source = new AudioBufferSourceNode(context, { buffer, loop: state.looping });
      source.connect(gain).connect(context.destination);
      source.start(state.started, state.offset);
      return { source, gain };
    });
    players[0].source.onended = () => pause(0);
    state.playing = true;
    showPlayer();
    follow(players);
  }

  function pause(offset = position()) {
    if (!state.playing) return;
    players[0].source.onended = null;
    for (const { source } of players) source.stop();
    players = [];
    state.offset = offset;
    state.playing = false;
    showPlayer();
  }

  /** What changes the sources themselves: a position, another sound, the loop. */
  function restart(change) {
    const playing = state.playing;
    pause();
    change();
    if (playing) start();
    else showPlayer();
  }

  function chooseSide(side) {
    state.side = side;
    if (state.playing) setGains();
    showPlayer();
  }

  function togglePlay() {
    if (state.playing) pause();
    else start();
    say(state.playing ? `Playing ${data.sides[state.side]}` : "Paused");
  }

  function toggleSide() {
    chooseSide(1 - state.side);
    say(data.sides[state.side]);
  }

  const seekTo = (seconds) => restart(() => { state.offset = seconds; });

  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  /** Move the position along while a sound plays; in steps where motion is not wanted. */
  function follow(followed) {
    if (players !== followed) return;
    showPosition();
    if (calm.matches) setTimeout(() => follow(followed), 250);
    else requestAnimationFrame(() => follow(followed));
  }

  function showPosition() {
    const { duration } = decode(state.sound);
    const now = position();
    seek.value = now;
    seek.setAttribute("aria-valuetext", `${now.toFixed(2)} seconds`);
    find("#time").textContent = `${now.toFixed(2)} / ${duration.toFixed(2)} s`;
    for (const plot of all(".plot")) placePlayhead(plot, now);
  }

  function showPlayer() {
    seek.max = decode(state.sound).duration;
    buttons.forEach((button, side) => {
      button.setAttribute("aria-pressed", state.playing && side === state.side);
      button.classList.toggle("audible", side === state.side);
      find(`.picture.side-${side}`).classList.toggle("audible", side === state.side);
    });
    showPosition();
  }

  // ----- the list

  const rows = all("#rows tr");
  const sortBy = find("#sort-by");
  const order = find("#order");

  function fillSorting() {
    for (const group of new Set(data.figures.map((figure) => figure.group))) {
      const options = data.figures.map((figure, i) => ({ figure, i })).filter(({ figure }) => figure.group === group);
      const made = options.map(({ figure, i }) => new Option(figure.label, i));
      sortBy.append(element("optgroup", { label: group }, ...made));
    }
    sortBy.append(new Option("Name", "name"), new Option("As given", "given"));
    if (!data.figures.length) sortBy.value = "given";
    find(".sorting").hidden = data.sounds.length < 2;
    for (const part of all(".scroll .figure")) part.hidden = !data.figures.length;
  }

  /** Sounds in the order that is chosen; those without a value come last. */
  function sorted() {
    const numbers = data.sounds.map((_, i) => i);
    if (sortBy.value === "given") return numbers;
    if (sortBy.value === "name") {
      return numbers.sort((a, b) => data.sounds[a].name.localeCompare(data.sounds[b].name, "en", { numeric: true }));
    }
    const { badness } = data.figures[sortBy.value];
    const sign = order.value === "worst" ? -1 : 1;
    const key = (i) => (badness[i] === null ? Infinity : sign * badness[i]);
    return numbers.sort((a, b) => key(a) - key(b) || a - b);
  }

  function sort() {
    const figure = data.figures[sortBy.value];
    order.disabled = !figure;
    if (figure) showFigures(figure);
    find("#rows").append(...sorted().map((i) => rows[i]));
    const rising = figure && (order.value === "best") === (figure.best === "lowest");
    find("#figure-column").setAttribute("aria-sort", figure ? (rising ? "ascending" : "descending") : "none");
    find("#name-column").setAttribute("aria-sort", sortBy.value === "name" ? "ascending" : "none");
    say(`Sorted by ${sortBy.selectedOptions[0].text}${figure ? `, ${order.selectedOptions[0].text}` : ""}`);
    showNow();
  }

  function showFigures({ label, texts, bars }) {
    find("#figure-column").textContent = label;
    rows.forEach((row, i) => {
      const bar = element("span", { class: "bar" });
      bar.style.width = `calc((100% - 1.2rem) * ${bars[i]})`;
      find("td", row).replaceChildren(texts[i], bar);
    });
  }

  const listed = () => all("#rows tr").map((row) => Number(row.dataset.sound));

  function choose(number, focus = false) {
    restart(() => {
      state.sound = number;
      state.offset = 0;
    });
    rows.forEach((row, i) => {
      const button = find("button", row);
      row.classList.toggle("current", i === number);
      button.tabIndex = i === number ? 0 : -1;
      if (i === number) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
    if (focus) find("button", rows[number]).focus({ preventScroll: true });
    keepInSight(rows[number]);
    showNow();
    showSound();
  }

  /** Scroll the list, not the page. */
  function keepInSight(row) {
    const box = find(".scroll");
    const [outer, inner] = [box.getBoundingClientRect(), row.getBoundingClientRect()];
    const head = find("thead", box).offsetHeight;
    if (inner.top < outer.top + head) box.scrollTop -= outer.top + head - inner.top;
    if (inner.bottom > outer.bottom) box.scrollTop += inner.bottom - outer.bottom;
  }

  function step(by) {
    const numbers = listed();
    const next = numbers[numbers.indexOf(state.sound) + by];
    if (next === undefined) return;
    choose(next, Boolean(document.activeElement.closest("#rows")));
    say(find("#now").textContent);
  }

  function showNow() {
    const numbers = listed();
    find("#now").textContent =
      `${data.sounds[state.sound].name}, ${numbers.indexOf(state.sound) + 1} of ${numbers.length}`;
  }

  // ----- pictures

  const LEVELS = "000004 180f3d 440f76 721f81 9e2f7f cd4071 f1605d fd9668 feca8d fcfdbf"; // magma of matplotlib
  const DIFFERENCES = "a8c9ff 4f9bd9 256590 153548 101113 4a2a12 9a5418 e08a2e ffd9a0"; // dark where there is none

  /** 256 colours, red, green and blue, between those that are named. */
  function colours(names) {
    const anchors = names.split(" ").map((name) => [0, 2, 4].map((i) => parseInt(name.slice(i, i + 2), 16)));
    return Array.from({ length: 256 }, (_, level) => {
      const place = (level / 255) * (anchors.length - 1);
      const left = Math.min(Math.floor(place), anchors.length - 2);
      return anchors[left].map((part, i) => part + (anchors[left + 1][i] - part) * (place - left));
    });
  }

  const [LEVEL_COLOURS, DIFFERENCE_COLOURS] = [colours(LEVELS), colours(DIFFERENCES)];
  /** Colour of a level, or of a difference, which has only half of the levels to either side. */
  const colourAt = (level, kind) =>
    kind < 2 ? LEVEL_COLOURS[level] : DIFFERENCE_COLOURS[Math.max(0, Math.min(255, level + 128))];

  /** A canvas as sharp as the screen, and what its text and lines look like. */
  function surface(canvas) {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const density = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
    const pen = canvas.getContext("2d");
    pen.scale(density, density);
    pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    pen.fillStyle = colourOf("--muted");
    pen.strokeStyle = colourOf("--muted");
    return { pen, width, height };
  }

  const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /** Mark places, fractions of an axis, with their texts. */
  function drawTicks(pen, ticks, { left, right, top, bottom }, sideways) {
    pen.textAlign = sideways ? "right" : "center";
    pen.textBaseline = sideways ? "middle" : "top";
    for (const [part, text] of ticks) {
      if (sideways) {
        const y = bottom - part * (bottom - top);
        pen.fillRect(left - 4, y - 0.5, 4, 1);
        pen.fillText(text, left - 6, y);
      } else {
        const x = left + part * (right - left);
        pen.fillRect(x - 0.5, bottom, 1, 4);
        pen.fillText(text, x, bottom + 6);
      }
    }
  }

  /** Of some sets of ticks, from many to few, draw the first whose texts have room. */
  function drawTimes(pen, plot, sets, width) {
    const gap = (ticks) => (ticks.length > 1 ? (ticks[1][0] - ticks[0][0]) * (plot.right - plot.left) : 0);
    drawTicks(pen, sets.find((ticks) => gap(ticks) >= 45) ?? sets.at(-1), plot, false);
    pen.textAlign = "right";
    pen.fillText("s", width - 1, plot.bottom + 20);
  }

  function bitmap(levels, kind) {
    const [nRows, nColumns] = [data.rows.length, data.columns.length];
    const image = new ImageData(nColumns, nRows);
    levels.forEach((level, i) => {
      const [row, column] = [Math.floor(i / nColumns), i % nColumns];
      image.data.set([...colourAt(level, kind), 255], 4 * ((nRows - 1 - row) * nColumns + column));
    });
    const canvas = element("canvas", { width: nColumns, height: nRows });
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  function drawSpectrogram(canvas, levels, kind) {
    const { pen, width, height } = surface(canvas);
    const plot = { left: 42, right: width - 8, top: 14, bottom: height - 34 };
    pen.imageSmoothingEnabled = false;
    pen.drawImage(bitmap(levels, kind), plot.left, plot.top, plot.right - plot.left, plot.bottom - plot.top);
    drawTicks(pen, data.frequencies, plot, true);
    pen.fillText("Hz", plot.left - 6, 6);
    drawTimes(pen, plot, data.times, width);
    const [from, to] = data.ends;
    canvas.plot = { ...plot, from, to, height };
    canvas.setAttribute("aria-label", data.sounds[state.sound].labels[kind]);
  }

  function drawWaveforms(canvas) {
    const { waves, duration } = decode(state.sound);
    const { amplitudes, times } = data.sounds[state.sound];
    const { pen, width, height } = surface(canvas);
    const plot = { left: 42, right: width - 8, top: 6, bottom: height - 34 };
    const peak = Math.max(...waves.map(peakOf)) || 1;
    const lane = (plot.bottom - plot.top) / 2;
    waves.forEach((wave, side) => {
      const middle = plot.top + lane * (side + 0.5);
      const reach = lane * 0.4;
      drawWave(pen, wave, plot, middle, reach / peak, colourOf(side ? "--predicted" : "--true"));
      pen.fillStyle = colourOf("--muted");
      drawTicks(pen, amplitudes, { ...plot, top: middle - reach, bottom: middle + reach }, true);
    });
    drawTimes(pen, plot, times, width);
    canvas.plot = { ...plot, from: 0, to: duration, height };
  }

  function peakOf(wave) {
    let peak = 0;
    for (const sample of wave) peak = Math.max(peak, Math.abs(sample));
    return peak;
  }

  /** Lowest to highest sample of each pixel, joined to the pixel before. */
  function drawWave(pen, wave, plot, middle, scale, colour) {
    const columns = Math.max(1, Math.round(plot.right - plot.left) * 2);
    pen.fillStyle = colour;
    for (let column = 0; column < columns; column++) {
      const first = Math.floor((column * wave.length) / columns);
      const last = Math.max(first + 1, Math.floor(((column + 1) * wave.length) / columns));
      let [low, high] = [Infinity, -Infinity];
      for (let i = Math.max(0, first - 1); i < last; i++) {
        low = Math.min(low, wave[i]);
        high = Math.max(high, wave[i]);
      }
      const top = middle - high * scale;
      pen.fillRect(plot.left + column / 2, top - 0.25, 0.5, (high - low) * scale + 0.5);
    }
  }

  function drawScale(canvas, number) {
    const { pen, width } = surface(canvas);
    const { ticks, label } = data.scales[number];
    const plot = { left: 22, right: width - 22, bottom: 12 };
    const colours = [LEVEL_COLOURS, DIFFERENCE_COLOURS][number];
    const span = plot.right - plot.left;
    for (let x = 0; x < span; x++) {
      const [red, green, blue] = colours[Math.round((255 * x) / span)];
      pen.fillStyle = `rgb(${red},${green},${blue})`;
      pen.fillRect(plot.left + x, 0, 1.5, plot.bottom);
    }
    pen.fillStyle = colourOf("--muted");
    drawTicks(pen, ticks, plot, false);
    canvas.setAttribute("aria-label", label);
  }

  const names = [...data.sides, "Difference"];
  const pictures = all(".pictures canvas");

  function drawPictures() {
    const { levels } = decode(state.sound);
    pictures.forEach((canvas, kind) => drawSpectrogram(canvas, levels[kind], kind));
    const waveforms = find("#waveforms");
    drawWaveforms(waveforms);
    waveforms.setAttribute("aria-label", `Waveforms, ${data.sides[0]} above ${data.sides[1]}`);
    drawScale(find("#level-scale"), 0);
    drawScale(find("#difference-scale"), 1);
    showPosition();
  }

  function placePlayhead(place, now) {
    const { plot } = find("canvas", place);
    const head = find(".playhead", place);
    const part = plot && (now - plot.from) / (plot.to - plot.from);
    head.hidden = !plot || part < 0 || part > 1 || (now === 0 && !state.playing);
    if (head.hidden) return;
    head.style.top = `${plot.top}px`;
    head.style.height = `${plot.bottom - plot.top}px`;
    head.style.transform = `translateX(${plot.left + part * (plot.right - plot.left)}px)`;
  }

  /** Time, and row of a spectrogram, under a pointer. */
  function underPointer(canvas, event) {
    const { left, right, top, bottom, from, to } = canvas.plot;
    const box = canvas.getBoundingClientRect();
    const x = (event.clientX - box.left - left) / (right - left);
    const y = (event.clientY - box.top - top) / (bottom - top);
    if (x < 0 || x > 1) return null;
    return { time: from + x * (to - from), across: x, up: 1 - y };
  }

  function read(canvas, event) {
    const spot = underPointer(canvas, event);
    if (!spot || spot.up < 0 || spot.up >= 1) return;
    const column = Math.min(data.columns.length - 1, Math.floor(spot.across * data.columns.length));
    const row = Math.floor(spot.up * data.rows.length);
    const texts = decode(state.sound).levels.map((picture, kind) => {
      const level = picture[row * data.columns.length + column];
      return `${names[kind].toLowerCase()} ${kind < 2 ? data.levels[level] : data.differences[level + 255]} dB`;
    });
    find("#readout").textContent = `${data.columns[column]}, ${data.rows[row]}: ${texts.join(", ")}`;
  }

  // ----- numbers of a sound

  const row = (...cells) => element("tr", { role: "row" }, ...cells);
  const rowHead = (...children) => element("th", { role: "rowheader", scope: "row" }, ...children);
  const columnHead = (name) => {
    const kind = ["Parameter", "Metric", "Range"].includes(name) ? "" : "figure";
    return element("th", { role: "columnheader", scope: "col", class: kind }, name);
  };
  const cell = (label, text, ...spread) => {
    const parts = [text, ...spread.map((part) => element("small", {}, part))];
    return element("td", { role: "cell", class: "figure", "data-label": label }, element("span", {}, ...parts));
  };
  /** A name that may be broken after its underscores, and its units. */
  const withUnits = (name, units) => [
    ...name.split(/(?<=_)/).flatMap((part) => [part, element("wbr")]),
    ...(units ? [" ", element("small", {}, units)] : []),
  ];

  function showSound() {
    const sound = data.sounds[state.sound];
    find("#sound-name").textContent = sound.name;
    find("#sound-notes").replaceChildren(...sound.notes.map((note) => element("p", { class: "note" }, note)));
    fillTable(find("#parameters"), "Parameter", sound.parameters);
    fillTable(find("#metrics"), "Metric", sound.metrics);
    drawPictures();
  }

  /** A line for each parameter or metric: its name, its cells, and its range where it has one. */
  function fillTable(table, first, lines) {
    table.hidden = !lines.length;
    if (!lines.length) return;
    const labels = [first, ...lines[0].cells.map(([label]) => label), ...(lines[0].ends ? ["Range"] : [])];
    find("thead", table).replaceChildren(row(...labels.map(columnHead)));
    find("tbody", table).replaceChildren(
      ...lines.map(({ name, units, cells, marks, ends }) => {
        const range = ends ? [element("td", { role: "cell", "aria-hidden": "true" }, track(marks), endsOf(ends))] : [];
        return row(rowHead(...withUnits(name, units)), ...cells.map((texts) => cell(...texts)), ...range);
      }),
    );
  }

  const endsOf = (texts) => element("span", { class: "ends" }, ...texts.map((text) => element("span", {}, text)));

  /** The range as a line, with the prediction, its spread of one standard deviation and the true value on it. */
  function track(marks) {
    const line = element("span", { class: "track" }, element("i", { class: "range" }));
    for (const [name, place, width] of marks) {
      const made = element("i", { class: name });
      made.style.left = `${100 * place}%`;
      if (width) made.style.width = `${100 * width}%`;
      line.append(made);
    }
    return line;
  }

  // ----- hands

  const hands = { onPointer: false, pressed: false };

  /** Whether the section of the sounds covers the middle of the window or has the focus. */
  function listening() {
    const section = find("#sounds");
    const { top, bottom } = section.getBoundingClientRect();
    const middle = window.innerHeight / 2;
    return (top < middle && bottom > middle) || document.activeElement.closest("#sounds, #player") !== null;
  }

  /** What a key does, or undefined where it is the browser's. */
  function actionOf(event) {
    const target = event.target;
    const row = target.closest("#rows tr");
    const modified = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
    if (modified || target.closest("select, input[type=range]")) return undefined;
    if (event.key === " ") {
      if (row) return () => playRow(Number(row.dataset.sound));
      // A control that was clicked has the focus; it is meant to get the space only if it was reached by keys.
      return target.closest("button, input, a") && !hands.onPointer ? undefined : togglePlay;
    }
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") return toggleSide;
    if (!listening()) return undefined;
    return { ArrowUp: () => step(-1), ArrowDown: () => step(1) }[event.key];
  }

  function playRow(number) {
    if (number !== state.sound) {
      pause();
      choose(number);
    }
    togglePlay();
  }

  function onKey(event) {
    if (event.key === "Tab") hands.onPointer = false;
    const action = actionOf(event);
    hands.pressed = action !== undefined;
    if (!action) return;
    event.preventDefault();
    if (!event.repeat || event.key === "ArrowUp" || event.key === "ArrowDown") action();
  }

  function pressSide(side) {
    if (state.playing && side === state.side) pause();
    else {
      chooseSide(side);
      if (!state.playing) start();
    }
  }

  function listen() {
    document.addEventListener("keydown", onKey);
    // A button fires at the end of a press of space, which is answered at its beginning here.
    document.addEventListener("keyup", (event) => event.key === " " && hands.pressed && event.preventDefault());
    document.addEventListener("pointerdown", () => { hands.onPointer = true; });
    rows.forEach((row, i) => row.addEventListener("click", () => choose(i)));
    buttons.forEach((button, side) => button.addEventListener("click", () => pressSide(side)));
    find("#toggle").addEventListener("click", toggleSide);
    find("#previous").addEventListener("click", () => step(-1));
    find("#next").addEventListener("click", () => step(1));
    find("#loop").addEventListener("change", () => restart(() => {}));
    find("#match").addEventListener("change", () => state.playing && setGains());
    seek.addEventListener("input", () => seekTo(Number(seek.value)));
    sortBy.addEventListener("change", sort);
    order.addEventListener("change", sort);
    for (const canvas of all(".plot canvas")) {
      canvas.addEventListener("click", (event) => {
        const spot = underPointer(canvas, event);
        if (spot) seekTo(Math.max(0, Math.min(decode(state.sound).duration, spot.time)));
      });
    }
    for (const canvas of pictures) canvas.addEventListener("pointermove", (event) => read(canvas, event));
    let drawn = find("#detail").clientWidth;
    new ResizeObserver(([{ target }]) => {
      if (target.clientWidth !== drawn) drawPictures();
      drawn = target.clientWidth;
    }).observe(find("#detail"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawPictures);
  }

  fillSorting();
  sort();
  choose(listed()[0]);
  listen();
  say("");
}
