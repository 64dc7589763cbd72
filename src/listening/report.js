"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // ----- numbers and elements

  const minus = (text) => (/[1-9]/.test(text) ? text.replace(/-/g, "−") : text.replace("-", ""));

  /** A number for people: with the given digits after the point, or three digits in all. */
  function formatNumber(number, decimals) {
    if (number === null || number === undefined) return "–";
    const size = Math.abs(number);
    if (decimals !== undefined) return minus(number.toFixed(decimals));
    if (size && size < 1e-4) return minus(number.toExponential(1));
    return minus(number.toFixed(size ? Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(size)))) : 0));
  }

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
  /** Waveforms and spectrograms of a sound, decoded when it is first asked for. */
  function decode(number) {
    if (!decoded.has(number)) {
      const { wav, image } = data.sounds[number];
      const { top, bottom } = data.scale;
      const toDb = (text) => Float32Array.from(bytesOf(text), (level) => bottom + (level / 255) * (top - bottom));
      const waves = wav.map(decodeWav);
      const levels = image.map(toDb);
      decoded.set(number, {
        waves: waves.map((wave) => wave.samples),
        rate: waves[0].rate,
        duration: waves[0].samples.length / waves[0].rate,
        levels: [...levels, levels[1].map((level, i) => level - levels[0][i])],
      });
    }
    return decoded.get(number);
  }

  const state = { sound: 0, side: 0, playing: false, looping: false, offset: 0, started: 0 };
  const buttons = all(".play");
  const seek = find("#seek");
  let context = null;
  let voices = [];

  /** Where both sounds are, s: they run together all the time, one of them at gain 0. */
  function position() {
    const { duration } = decode(state.sound);
    if (!state.playing) return state.offset;
    const elapsed = state.offset + Math.max(0, context.currentTime - state.started);
    return state.looping ? elapsed % duration : Math.min(elapsed, duration);
  }

  /** Gains of both sides when they are heard: 1, or what makes the louder one as loud as the other. */
  function heardGains() {
    const norms = decode(state.sound).waves.map((wave) => Math.sqrt(wave.reduce((sum, x) => sum + x * x, 0)));
    const softer = Math.min(...norms);
    return norms.map((norm) => (find("#match").checked && softer > 0 ? softer / norm : 1));
  }

  function setGains() {
    const gains = heardGains();
    voices.forEach(({ gain }, side) => {
      gain.gain.setTargetAtTime(side === state.side ? gains[side] : 0, context.currentTime, 0.003);
    });
  }

  function start() {
    const { waves, rate, duration } = decode(state.sound);
    context ??= new AudioContext();
    context.resume();
    if (state.offset >= duration) state.offset = 0;
    const gains = heardGains();
    state.started = context.currentTime + 0.02;
    state.looping = find("#loop").checked;
    voices = waves.map((wave, side) => {
      const buffer = context.createBuffer(1, wave.length, rate);
      buffer.copyToChannel(wave, 0);
      const gain = new GainNode(context, { gain: side === state.side ? gains[side] : 0 });
      const source = new AudioBufferSourceNode(context, { buffer, loop: state.looping });
      source.connect(gain).connect(context.destination);
      source.start(state.started, state.offset);
      return { source, gain };
    });
    voices[0].source.onended = () => pause(0);
    state.playing = true;
    showPlayer();
    follow(voices);
  }

  function pause(offset = position()) {
    if (!state.playing) return;
    voices[0].source.onended = null;
    for (const { source } of voices) source.stop();
    voices = [];
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
    if (voices !== followed) return;
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
      button.classList.toggle("heard", side === state.side);
      find(`.picture.side-${side}`).classList.toggle("heard", side === state.side);
    });
    showPosition();
  }

  // ----- the list

  const rows = all("#rows tr");
  const sortBy = find("#sort-by");
  const order = find("#order");

  const known = data.sounds.some((sound) => sound.true);
  const FIGURES = [
    ...data.metrics.map((metric) => ({
      label: metric.name,
      group: "Metrics",
      of: (sound) => sound.metrics[metric.name] ?? null,
      badness: (value) => (metric.better === "high" ? -value : metric.better === "0" ? Math.abs(value) : value),
    })),
    ...(known ? data.parameters : []).map((spec, p) => ({
      label: `${spec.name}, steps`,
      group: "Errors of parameters",
      of: (sound) => (sound.true ? Math.abs(sound.value[p] - sound.true[p]) / spec.step : null),
      badness: (value) => value,
    })),
  ].filter((figure) => data.sounds.some((sound) => figure.of(sound) !== null));

  function fillSorting() {
    for (const group of new Set(FIGURES.map((figure) => figure.group))) {
      const options = FIGURES.map((figure, i) => ({ figure, i })).filter(({ figure }) => figure.group === group);
      const made = options.map(({ figure, i }) => new Option(figure.label, i));
      sortBy.append(element("optgroup", { label: group }, ...made));
    }
    sortBy.append(new Option("Name", "name"), new Option("As given", "given"));
    if (!FIGURES.length) sortBy.value = "given";
    find(".sorting").hidden = data.sounds.length < 2;
    for (const part of all(".scroll .figure")) part.hidden = !FIGURES.length;
  }

  /** Sounds in the order that is chosen; those without a value come last. */
  function sorted() {
    const numbers = data.sounds.map((_, i) => i);
    if (sortBy.value === "given") return numbers;
    if (sortBy.value === "name") {
      return numbers.sort((a, b) => data.sounds[a].name.localeCompare(data.sounds[b].name, "en", { numeric: true }));
    }
    const figure = FIGURES[sortBy.value];
    const sign = order.value === "worst" ? -1 : 1;
    const key = (i) => {
      const value = figure.of(data.sounds[i]);
      return value === null ? Infinity : sign * figure.badness(value);
    };
    return numbers.sort((a, b) => key(a) - key(b) || a - b);
  }

  function sort() {
    const figure = FIGURES[sortBy.value];
    order.disabled = !figure;
    if (figure) showFigures(figure);
    find("#rows").append(...sorted().map((i) => rows[i]));
    const rising = figure && (order.value === "best") === (figure.badness(1) > 0);
    find("#figure-column").setAttribute("aria-sort", figure ? (rising ? "ascending" : "descending") : "none");
    find("#name-column").setAttribute("aria-sort", sortBy.value === "name" ? "ascending" : "none");
    say(`Sorted by ${sortBy.selectedOptions[0].text}${figure ? `, ${order.selectedOptions[0].text}` : ""}`);
    showNow();
  }

  function showFigures(figure) {
    const values = data.sounds.map(figure.of);
    const most = Math.max(...values.map(Math.abs)) || 1;
    find("#figure-column").textContent = figure.label;
    rows.forEach((row, i) => {
      const bar = element("span", { class: "bar" });
      bar.style.width = `calc((100% - 1.2rem) * ${Math.abs(values[i]) / most})`;
      find("td", row).replaceChildren(formatNumber(values[i]), bar);
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

  const half = (data.scale.top - data.scale.bottom) / 2;
  const LEVEL_SCALE = { ...data.scale, colours: colours(LEVELS), signed: false };
  const DIFFERENCE_SCALE = { top: half, bottom: -half, colours: colours(DIFFERENCES), signed: true };
  const colourAt = (scale, db) =>
    scale.colours[Math.max(0, Math.min(255, Math.round((255 * (db - scale.bottom)) / (scale.top - scale.bottom))))];

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

  /** Round numbers within two ends, not more than `count` steps of them. */
  function roundNumbers(low, high, count) {
    const raw = (high - low) / Math.max(1, count);
    const power = 10 ** Math.floor(Math.log10(raw));
    const gap = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.999);
    const numbers = [];
    for (let k = Math.ceil(low / gap - 1e-6); k * gap <= high + gap * 1e-6; k++) numbers.push(k * gap);
    return { numbers, decimals: Math.max(0, -Math.floor(Math.log10(gap) + 1e-6)) };
  }

  function drawTicks(pen, numbers, textOf, placeOf, plot, sideways) {
    pen.textAlign = sideways ? "right" : "center";
    pen.textBaseline = sideways ? "middle" : "top";
    for (const number of numbers) {
      const place = placeOf(number);
      if (sideways) {
        pen.fillRect(plot.left - 4, place - 0.5, 4, 1);
        pen.fillText(textOf(number), plot.left - 6, place);
      } else {
        pen.fillRect(place - 0.5, plot.bottom, 1, 4);
        pen.fillText(textOf(number), place, plot.bottom + 6);
      }
    }
  }

  function drawTimes(pen, plot, from, to, width) {
    const { numbers, decimals } = roundNumbers(from, to, (plot.right - plot.left) / 45);
    const placeOf = (time) => plot.left + ((time - from) / (to - from)) * (plot.right - plot.left);
    drawTicks(pen, numbers, (time) => minus(time.toFixed(decimals)), placeOf, plot, false);
    pen.textAlign = "right";
    pen.fillText("s", width - 1, plot.bottom + 20);
  }

  const hertz = (frequency) => (frequency >= 1000 ? `${+(frequency / 1000).toFixed(2)}k` : `${+frequency.toFixed(0)}`);

  /** Row of a frequency, counted from the lowest row's centre, between rows by interpolation. */
  function rowOf(frequency) {
    const centres = data.frequency;
    if (centres.length < 2) return 0;
    let row = centres.findIndex((centre) => centre > frequency) - 1;
    if (row < 0) row = frequency < centres[0] ? 0 : centres.length - 2;
    return row + (frequency - centres[row]) / (centres[row + 1] - centres[row]);
  }

  /** Frequencies to mark: evenly where the rows are even, else 1, 2, 5 of each decade, as far apart as `rows`. */
  function frequencyTicks(rows) {
    const centres = data.frequency;
    const [low, high] = [centres[0], centres.at(-1)];
    const even = centres.length > 2 && centres.at(-1) - centres.at(-2) < 1.01 * (centres[1] - centres[0]);
    if (even) return roundNumbers(low, high, centres.length / rows).numbers;
    const numbers = [];
    for (let power = 10; power <= high; power *= 10) {
      for (const number of [power, 2 * power, 5 * power]) {
        const free = !numbers.length || rowOf(number) - rowOf(numbers.at(-1)) >= rows;
        if (number >= low && number <= high && free) numbers.push(number);
      }
    }
    return numbers;
  }

  /** First and last time of the spectrograms' columns, s. */
  function timeEnds() {
    const times = data.time;
    const gap = times.length > 1 ? (times.at(-1) - times[0]) / (times.length - 1) : decode(state.sound).duration;
    return [times[0] - gap / 2, times.at(-1) + gap / 2];
  }

  function bitmap(levels, scale) {
    const [nRows, nColumns] = [data.frequency.length, data.time.length];
    const image = new ImageData(nColumns, nRows);
    levels.forEach((level, i) => {
      const [row, column] = [Math.floor(i / nColumns), i % nColumns];
      image.data.set([...colourAt(scale, level), 255], 4 * ((nRows - 1 - row) * nColumns + column));
    });
    const canvas = element("canvas", { width: nColumns, height: nRows });
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  function drawSpectrogram(canvas, levels, scale) {
    const { pen, width, height } = surface(canvas);
    const plot = { left: 42, right: width - 8, top: 14, bottom: height - 34 };
    const nRows = data.frequency.length;
    const rowHeight = (plot.bottom - plot.top) / nRows;
    pen.imageSmoothingEnabled = false;
    pen.drawImage(bitmap(levels, scale), plot.left, plot.top, plot.right - plot.left, plot.bottom - plot.top);
    const placeOf = (frequency) => plot.bottom - (rowOf(frequency) + 0.5) * rowHeight;
    drawTicks(pen, frequencyTicks(18 / rowHeight), hertz, placeOf, plot, true);
    pen.fillText("Hz", plot.left - 6, 6);
    const [from, to] = timeEnds();
    drawTimes(pen, plot, from, to, width);
    canvas.plot = { ...plot, from, to, height };
  }

  function drawWaveforms(canvas) {
    const { waves, duration } = decode(state.sound);
    const { pen, width, height } = surface(canvas);
    const plot = { left: 42, right: width - 8, top: 6, bottom: height - 34 };
    const peak = Math.max(...waves.map(peakOf)) || 1;
    const lane = (plot.bottom - plot.top) / 2;
    waves.forEach((wave, side) => {
      const middle = plot.top + lane * (side + 0.5);
      const reach = lane * 0.4;
      drawWave(pen, wave, plot, middle, reach / peak, colourOf(side ? "--predicted" : "--true"));
      pen.fillStyle = colourOf("--muted");
      const real = peak / data.sounds[state.sound].gain;
      drawTicks(pen, [-1, 0, 1], (part) => (part ? formatNumber(part * real, real < 0.1 ? 3 : 2) : "0"),
        (part) => middle - part * reach, plot, true);
    });
    drawTimes(pen, plot, 0, duration, width);
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

  function drawScale(canvas, scale) {
    const { pen, width } = surface(canvas);
    const plot = { left: 22, right: width - 22, bottom: 12 };
    const span = plot.right - plot.left;
    for (let x = 0; x < span; x++) {
      const [red, green, blue] = colourAt(scale, scale.bottom + (x / span) * (scale.top - scale.bottom));
      pen.fillStyle = `rgb(${red},${green},${blue})`;
      pen.fillRect(plot.left + x, 0, 1.5, plot.bottom);
    }
    pen.fillStyle = colourOf("--muted");
    const { numbers } = roundNumbers(scale.bottom, scale.top, 4);
    const signOf = (db) => (scale.signed && db > 0 ? "+" : "");
    const boundOf = (db) => (db === scale.bottom ? "≤" : db === scale.top && scale.signed ? "≥" : "");
    const textOf = (db) => boundOf(db) + signOf(db) + minus(String(db));
    const placeOf = (db) => plot.left + ((db - scale.bottom) / (scale.top - scale.bottom)) * span;
    drawTicks(pen, numbers, textOf, placeOf, plot, false);
    canvas.setAttribute("aria-label", `Colours from ${scale.bottom} to ${scale.top} dB`);
  }

  const names = [...data.sides, "Difference"];
  const pictures = all(".pictures canvas");

  function describePicture(canvas, kind) {
    const { levels } = decode(state.sound);
    const low = hertz(data.frequency[0]);
    const high = hertz(data.frequency.at(-1));
    const size = levels[2].reduce((sum, level) => sum + Math.abs(level), 0) / levels[2].length;
    const figure =
      kind < 2
        ? `loudest point ${formatNumber(levels[kind].reduce((a, b) => Math.max(a, b)), 1)} dB full scale`
        : `on average ${formatNumber(size, 1)} dB either way`;
    canvas.setAttribute("aria-label", `Spectrogram, ${names[kind]}, ${low} to ${high} Hz: ${figure}`);
  }

  function drawPictures() {
    const { levels } = decode(state.sound);
    pictures.forEach((canvas, kind) => {
      drawSpectrogram(canvas, levels[kind], kind < 2 ? LEVEL_SCALE : DIFFERENCE_SCALE);
      describePicture(canvas, kind);
    });
    const waveforms = find("#waveforms");
    drawWaveforms(waveforms);
    waveforms.setAttribute("aria-label", `Waveforms, ${data.sides[0]} above ${data.sides[1]}`);
    drawScale(find("#level-scale"), LEVEL_SCALE);
    drawScale(find("#difference-scale"), DIFFERENCE_SCALE);
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
    const column = Math.min(data.time.length - 1, Math.floor(spot.across * data.time.length));
    const row = Math.floor(spot.up * data.frequency.length);
    const levels = decode(state.sound).levels.map((picture) => picture[row * data.time.length + column]);
    find("#readout").textContent =
      `${data.time[column].toFixed(3)} s, ${data.frequency[row].toFixed(0)} Hz: ` +
      names.map((name, kind) => `${name.toLowerCase()} ${formatNumber(levels[kind], 1)} dB`).join(", ");
  }

  // ----- numbers of a sound

  const row = (...cells) => element("tr", { role: "row" }, ...cells);
  const rowHead = (...children) => element("th", { role: "rowheader", scope: "row" }, ...children);
  const columnHead = (name) => {
    const kind = ["Parameter", "Metric", "Range"].includes(name) ? "" : "figure";
    return element("th", { role: "columnheader", scope: "col", class: kind }, name);
  };
  const cell = (label, ...children) =>
    element("td", { role: "cell", class: "figure", "data-label": label }, element("span", {}, ...children));
  /** A name that may be broken after its underscores, and its units. */
  const withUnits = (name, units) => [
    ...name.split(/(?<=_)/).flatMap((part) => [part, element("wbr")]),
    ...(units ? [" ", element("small", {}, units)] : []),
  ];

  function showSound() {
    const sound = data.sounds[state.sound];
    find("#sound-name").textContent = sound.name;
    find("#sound-notes").replaceChildren(...sound.notes.map((note) => element("p", { class: "note" }, note)));
    showParameters(sound);
    showMetrics(sound);
    drawPictures();
  }

  function showParameters(sound) {
    const compared = sound.true ? ["True", "Predicted", "Error", "In steps"] : ["Predicted"];
    const table = find("#parameters");
    table.hidden = !data.parameters.length;
    find("thead", table).replaceChildren(row(...["Parameter", ...compared, "Range"].map(columnHead)));
    find("tbody", table).replaceChildren(...data.parameters.map((spec, p) => parameterRow(sound, spec, p)));
  }

  /** A value in natural units, or the name of its class. */
  function valueText(spec, value) {
    const name = spec.names[Math.round((value - spec.min) / spec.step)];
    return name ?? formatNumber(value, spec.decimals.value);
  }

  function parameterRow(sound, spec, p) {
    const [value, std, truth] = [sound.value[p], sound.std?.[p] ?? null, sound.true?.[p] ?? null];
    const spread = std === null ? [] : [element("small", {}, ` ± ${formatNumber(std, spec.decimals.value)}`)];
    const cells = [cell("Predicted", valueText(spec, value), ...spread)];
    if (sound.true) {
      cells.unshift(cell("True", valueText(spec, truth)));
      cells.push(cell("Error", formatNumber(value - truth, spec.decimals.value)));
      cells.push(cell("In steps", formatNumber((value - truth) / spec.step)));
    }
    const range = element("td", { role: "cell", "aria-hidden": "true" }, track(spec, value, std, truth), ends(spec));
    return row(rowHead(...withUnits(spec.name, spec.units)), ...cells, range);
  }

  /** The range as a line, with the prediction, its spread of one standard deviation and the truth on it. */
  function track(spec, value, std, truth) {
    const place = (number) => Math.max(0, Math.min(1, (number - spec.min) / (spec.max - spec.min)));
    const line = element("span", { class: "track" }, element("i", { class: "range" }));
    const mark = (name, from, to = from) => {
      const made = element("i", { class: name });
      made.style.left = `${100 * place(from)}%`;
      if (to !== from) made.style.width = `${100 * (place(to) - place(from))}%`;
      line.append(made);
    };
    if (std !== null) mark("spread", value - std, value + std);
    if (truth !== null) mark("truth", truth);
    mark("guess", value);
    return line;
  }

  function ends(spec) {
    const texts = [spec.min, spec.max].map((end) => formatNumber(end, spec.decimals.range));
    return element("span", { class: "ends" }, ...texts.map((text) => element("span", {}, text)));
  }

  function showMetrics(sound) {
    const metrics = data.metrics.filter(({ name }) => name in sound.metrics);
    const compared = metrics.some(({ mean }) => mean !== null);
    const table = find("#metrics");
    table.hidden = !metrics.length;
    const columns = ["Metric", "Value", ...(compared ? ["Mean of all"] : [])];
    find("thead", table).replaceChildren(row(...columns.map(columnHead)));
    find("tbody", table).replaceChildren(
      ...metrics.map(({ name, units, mean }) => {
        const means = compared ? [cell("Mean of all", formatNumber(mean))] : [];
        return row(rowHead(...withUnits(name, units)), cell("Value", formatNumber(sound.metrics[name])), ...means);
      }),
    );
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
