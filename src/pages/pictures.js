/** Pictures on canvases: spectrograms, waveforms, colour scales; their axes, their playhead and their crosshair. */

import { all, colourOf, element, find } from "./dom.js";
import { clamp, formatNumber, roundTicks } from "./formats.js";
import { peakOf } from "./player.js";

// ----- colours

/** 256 colours, red, green and blue, between those that are named. */
function colours(names) {
  const anchors = names.split(" ").map((name) => [0, 2, 4].map((i) => parseInt(name.slice(i, i + 2), 16)));
  return Array.from({ length: 256 }, (_, level) => {
    const place = (level / 255) * (anchors.length - 1);
    const left = Math.min(Math.floor(place), anchors.length - 2);
    return anchors[left].map((part, i) => Math.round(part + (anchors[left + 1][i] - part) * (place - left)));
  });
}

/** Colours of levels: magma of matplotlib. */
export const LEVELS = colours("000004 180f3d 440f76 721f81 9e2f7f cd4071 f1605d fd9668 feca8d fcfdbf");
/** Colours of differences: dark where there is none, blue below, orange above. */
export const DIFFERENCES = colours("a8c9ff 4f9bd9 256590 153548 101113 4a2a12 9a5418 e08a2e ffd9a0");

const REACHES = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 80];

/** The round number that all but one in 200 of the differences stay within, so that their colours show them. */
export function reachOf(differences) {
  const sizes = Float32Array.from(differences, Math.abs).sort();
  const most = sizes[Math.ceil((sizes.length - 1) * 0.995)] ?? 0;
  return REACHES.find((reach) => most <= reach) ?? REACHES.at(-1);
}

// ----- surfaces and axes

/** A canvas as sharp as the screen, cleared, and what its text and lines look like. */
export function surface(canvas) {
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

/** Width of the widest text of some ticks, pixels. */
const widest = (pen, ticks) => Math.max(0, ...ticks.map(([, text]) => pen.measureText(text).width));

/** Mark places of a level axis, fractions from the bottom up, with their texts. */
export function drawRowTicks(pen, ticks, { left, top, bottom }) {
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const [part, text] of ticks) {
    const y = bottom - part * (bottom - top);
    pen.fillRect(left - 4, y - 0.5, 4, 1);
    pen.fillText(text, left - 7, y);
  }
}

/** Mark places of a horizontal axis, fractions from the left, with their texts, none of them beyond the canvas. */
export function drawColumnTicks(pen, ticks, { left, right, bottom }, width) {
  pen.textAlign = "center";
  pen.textBaseline = "top";
  for (const [part, text] of ticks) {
    const x = left + part * (right - left);
    const half = pen.measureText(text).width / 2 + 1;
    pen.fillRect(x - 0.5, bottom, 1, 4);
    pen.fillText(text, clamp(x, half, width - half), bottom + 7);
  }
}

/** As many round numbers from `from` to `to` as have room, the last one with the unit. */
export function drawColumnAxis(pen, plot, from, to, unit, width) {
  const room = plot.right - plot.left;
  const sets = [12, 10, 8, 6, 5, 4, 3, 2].map((most) => roundTicks(from, to, most));
  const fits = (ticks) => ticks.length < 2 || (ticks[1][0] - ticks[0][0]) * room >= widest(pen, ticks) + 16;
  const ticks = sets.find(fits) ?? sets.at(-1);
  drawColumnTicks(pen, [...ticks.slice(0, -1), [ticks.at(-1)[0], `${ticks.at(-1)[1]} ${unit}`]], plot, width);
}

// ----- spectrograms

/** An image whose values have a colour each (red, green and blue), the first row at the bottom. */
export function paint(values, colour, nRows, nColumns) {
  const image = new ImageData(nColumns, nRows);
  for (let row = 0, at = 0; row < nRows; row++) {
    for (let column = 0, to = 4 * (nRows - 1 - row) * nColumns; column < nColumns; column++, to += 4) {
      [image.data[to], image.data[to + 1], image.data[to + 2]] = colour(values[at++]);
      image.data[to + 3] = 255;
    }
  }
  return image;
}

/** What is in a picture, a pixel for each value. */
function bitmap({ values, low, high, colours: scale }, nRows, nColumns) {
  const colour = (value) => scale[clamp(Math.round((255 * (value - low)) / (high - low)), 0, 255)];
  const canvas = element("canvas", { width: nColumns, height: nRows });
  canvas.getContext("2d").putImageData(paint(values, colour, nRows, nColumns), 0, 0);
  return canvas;
}

/**
 * Draw a spectrogram or a difference of two.
 * @param {HTMLCanvasElement} canvas Gets `plot`: where its axes lie, in pixels, and what they reach from and to.
 * @param {object} picture `values` (Float32Array, rows from low to high), `low` and `high` of its `colours`.
 * @param {object} axes `rows` and `columns` (Hz and s of their centres), `ends` (s) and `frequencies` (ticks);
 *   `units` of rows and columns where they are others than Hz and s.
 * @param {boolean} bare Whether without axes, for a small picture.
 */
export function drawSpectrogram(canvas, picture, axes, bare = false) {
  const { pen, width, height } = surface(canvas);
  const left = bare ? 0 : widest(pen, axes.frequencies) + 9;
  const plot = bare
    ? { left: 0, right: width, top: 0, bottom: height }
    : { left, right: width - 2, top: 16, bottom: height - 22 };
  pen.imageSmoothingEnabled = false;
  const image = bitmap(picture, axes.rows.length, axes.columns.length);
  pen.drawImage(image, plot.left, plot.top, plot.right - plot.left, plot.bottom - plot.top);
  const [from, to] = axes.ends;
  const [rowUnits, columnUnits] = axes.units ?? ["Hz", "s"];
  if (!bare) {
    drawRowTicks(pen, axes.frequencies, plot);
    pen.textBaseline = "alphabetic";
    pen.fillText(rowUnits, Math.max(plot.left - 7, pen.measureText(rowUnits).width), 9);
    drawColumnAxis(pen, plot, from, to, columnUnits, width);
  }
  canvas.plot = { ...plot, from, to, width, height };
}

/** Frequency, time and place in `values` under a spot, or null beside the picture. */
export function cellAt({ across, up }, { rows, columns }) {
  if (across < 0 || across > 1 || up < 0 || up > 1) return null;
  const row = Math.min(rows.length - 1, Math.floor(up * rows.length));
  const column = Math.min(columns.length - 1, Math.floor(across * columns.length));
  return { row, column, index: row * columns.length + column, hertz: rows[row], seconds: columns[column] };
}

// ----- waveforms

/**
 * Draw sounds below each other on one scale.
 * @param {HTMLCanvasElement} canvas Gets `plot`, as of a spectrogram.
 * @param {object[]} lanes `wave` (Float32Array) and `colour` of each.
 * @param {number} duration s.
 * @param {number} reach The amplitude that a full swing stands for; that of the loudest sample if 0.
 */
export function drawWaveforms(canvas, lanes, duration, reach = 0) {
  const { pen, width, height } = surface(canvas);
  const peak = Math.max(...lanes.map(({ wave }) => peakOf(wave))) || 1;
  const text = formatNumber(reach || peak, (reach || peak) < 0.1 ? 3 : 2);
  const ticks = [[0, `−${text}`], [0.5, "0"], [1, text]];
  const plot = { left: widest(pen, ticks) + 9, right: width - 2, top: 8, bottom: height - 22 };
  const lane = (plot.bottom - plot.top) / lanes.length;
  lanes.forEach(({ wave, colour }, i) => {
    const middle = plot.top + lane * (i + 0.5);
    const half = lane * 0.38;
    drawWave(pen, wave, plot, middle, half / peak, colour);
    pen.fillStyle = colourOf("--muted");
    drawRowTicks(pen, ticks, { ...plot, top: middle - half, bottom: middle + half });
  });
  drawColumnAxis(pen, plot, 0, duration, "s", width);
  canvas.plot = { ...plot, from: 0, to: duration, width, height };
}

/** Lowest to highest sample of each half pixel, joined to the one before. */
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
    pen.fillRect(plot.left + column / 2, middle - high * scale - 0.25, 0.5, (high - low) * scale + 0.5);
  }
}

// ----- colour scales

/** Places and texts of both ends, the middle and what is between, in as many digits as they need. */
function quarters(low, high, format) {
  const step = (high - low) / 4;
  const decimals = [0, 1, 2, 3].find((n) => Math.abs(step - Number(step.toFixed(n))) < 1e-6) ?? 3;
  return [0, 1, 2, 3, 4].map((i) => [i / 4, format(low + i * step, decimals)]);
}

/**
 * Draw a colour scale; levels beyond an end have the colour of that end.
 * @param {object} picture `low`, `high` and `colours`, as of a spectrogram.
 * @param {Function} format Of a number and its digits.
 */
export function drawScale(canvas, { low, high, colours: scale }, format = formatNumber, units = "dB") {
  const { pen, width } = surface(canvas);
  const plot = { left: 1, right: width - 1, bottom: 10 };
  for (let x = plot.left; x < plot.right; x++) {
    pen.fillStyle = `rgb(${scale[Math.round((255 * (x - plot.left)) / (plot.right - plot.left))]})`;
    pen.fillRect(x, 0, 1.5, plot.bottom);
  }
  pen.fillStyle = colourOf("--muted");
  drawColumnTicks(pen, quarters(low, high, format), plot, width);
  canvas.setAttribute("aria-label", `Colours from ${format(low)} to ${format(high)} ${units}`);
}

// ----- playhead and crosshair: elements over a canvas, so that nothing is drawn again

/** Move the playhead of a plot (an element with a canvas and a `.playhead`) to a time, s; null hides it. */
export function placePlayhead(root, now) {
  const { plot } = find("canvas", root);
  const head = find(".playhead", root);
  const part = plot && now !== null ? (now - plot.from) / (plot.to - plot.from) : -1;
  head.hidden = !(part >= 0 && part <= 1);
  if (head.hidden) return;
  head.style.top = `${plot.top}px`;
  head.style.height = `${plot.bottom - plot.top}px`;
  head.style.transform = `translateX(${plot.left + part * (plot.right - plot.left)}px)`;
}

/** Show the crosshair at one spot of some plots, or hide it where that is null. */
export function placeCrosshair(roots, spot) {
  for (const root of roots) {
    const { plot } = find("canvas", root);
    const lines = all(".cross", root);
    for (const line of lines) line.hidden = !spot || !plot;
    if (!spot || !plot) continue;
    const [across, along] = lines;
    const x = plot.left + spot.across * (plot.right - plot.left);
    const y = plot.bottom - spot.up * (plot.bottom - plot.top);
    Object.assign(across.style, { left: `${plot.left}px`, top: `${y}px`, width: `${plot.right - plot.left}px` });
    Object.assign(along.style, { left: `${x}px`, top: `${plot.top}px`, height: `${plot.bottom - plot.top}px` });
  }
}

/** Where an event is in a plot: fractions from the left and from the bottom, and the time, s. */
export function spotUnder(canvas, event) {
  const { left, right, top, bottom, from, to } = canvas.plot;
  const box = canvas.getBoundingClientRect();
  const across = (event.clientX - box.left - left) / (right - left);
  const up = 1 - (event.clientY - box.top - top) / (bottom - top);
  return { across, up, time: from + clamp(across, 0, 1) * (to - from) };
}
