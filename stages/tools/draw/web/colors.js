"use strict";

/*
 * Numbers as colors: blue below zero, red above. On a light page these are ColorBrewer's RdBu, as in the project's
 * figures (RdBu_r in matplotlib); on a dark one zero is dark, and what is far from it lights up.
 */
const DIVERGING = {
    light: [
        "#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7", "#fddbc7", "#f4a582", "#d6604d", "#b2182b", "#67001f",
    ],
    dark: [
        "#cfe8ff", "#8cc8fb", "#4a9fe0", "#2672b0", "#1c4467", "#20252c", "#5e2a26", "#a8433a", "#e56a54", "#ff9d84", "#ffd9cc",
    ],
};
const LEVELS = 255; // colors on each side of zero
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const tables = {light: colorTable(DIVERGING.light), dark: colorTable(DIVERGING.dark)};

/** The colors of a scale, evenly spaced, as ImageData has them.  @returns {Uint32Array} 2 · LEVELS + 1 colors */
function colorTable(stops) {
    const channels = stops.map((stop) => [1, 3, 5].map((start) => parseInt(stop.slice(start, start + 2), 16)));
    const table = new Uint8ClampedArray(4 * (2 * LEVELS + 1)).fill(255);
    for (let level = 0; level <= 2 * LEVELS; level++) {
        const place = (level / (2 * LEVELS)) * (stops.length - 1);
        const below = Math.min(Math.floor(place), stops.length - 2);
        const mixed = [0, 1, 2].map((c) => channels[below][c] + (place - below) * (channels[below + 1][c] - channels[below][c]));
        table.set(mixed, 4 * level);
    }
    return new Uint32Array(table.buffer);
}

/** Color every pixel by its number; at ±limit the color is the strongest. Pixels beyond the numbers stay clear. */
function paintDiverging(pixels, values, start, limit) {
    const table = tables[darkScheme.matches ? "dark" : "light"], factor = limit ? LEVELS / limit : 0;
    const count = Math.min(pixels.length, values.length - start);
    for (let i = 0; i < count; i++) {
        const level = Math.round(values[start + i] * factor);
        pixels[i] = table[LEVELS + Math.max(-LEVELS, Math.min(LEVELS, level))];
    }
}

/** Pixels from 0 (black) to 255 (white). */
function paintGray(pixels, values) {
    for (let i = 0; i < pixels.length; i++) pixels[i] = 0xff000000 | (values[i] * 0x010101);
}

/** The largest absolute value. */
function largest(values) {
    let limit = 0;
    for (const value of values) limit = Math.max(limit, Math.abs(value));
    return limit;
}
