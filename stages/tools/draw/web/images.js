"use strict";

/** A canvas with a pixel for each number; the style sheet enlarges it. */
class Raster {
    constructor(width, height) {
        this.canvas = make("canvas", {width, height, "aria-hidden": "true"});
        this.canvas.style.setProperty("--width", width);
        this.canvas.style.setProperty("--height", height);
        this.context = this.canvas.getContext("2d");
        this.image = this.context.createImageData(width, height);
        this.pixels = new Uint32Array(this.image.data.buffer);
    }

    showNumbers(values, start, limit) {
        paintDiverging(this.pixels, values, start, limit);
        this.context.putImageData(this.image, 0, 0);
    }

    /** @param {ArrayLike<number>} bytes  0 (black) to 255 (white) */
    showGray(bytes) {
        paintGray(this.pixels, bytes);
        this.context.putImageData(this.image, 0, 0);
    }
}

/**
 * Numbers as an image: a vector [n] or [n, 1, 1] as squares in rows, [channels, height, width] as a tile for each channel.
 *
 * Below it stands the scale: which numbers have the strongest blue and red.
 */
class NumberImage {
    /** @param {number[]} shape  @param {string} label  what a screen reader says of it */
    constructor(shape, label) {
        this.shape = shape;
        const isVector = shape.slice(1).every((length) => length === 1); // maps of one pixel, too
        [this.channels, this.height, this.width] = isVector ? [1, ...gridOf(shape[0])] : shape;
        this.tileSize = isVector ? shape[0] : this.height * this.width;
        this.rasters = Array.from({length: this.channels}, () => new Raster(this.width, this.height));
        this.tiles = this.rasters.map((raster) => make("div", {class: "tile"}, raster.canvas));
        this.field = make("div", {class: `field ${kindOf(shape)}`, role: "img", "aria-label": label}, ...this.tiles);
        this.field.style.setProperty("--width", this.width);
        this.field.style.setProperty("--height", this.height);
        this.scale = make("p", {class: "scale", "aria-hidden": "true"}, make("span"), make("i"), make("span"));
        this.element = make("div", {class: "numbers"}, this.field, this.scale);
    }

    /** The element, in about so many pixels of width.  @returns {HTMLElement} */
    fitted(pixels) {
        const columns = Math.ceil(Math.sqrt(this.channels));
        const size = Math.max(2, Math.min(24, Math.floor(pixels / (columns * this.width))));
        this.field.classList.add("fitted");
        this.field.style.setProperty("--size", `${size}px`);
        this.field.style.setProperty("--columns", columns);
        return this.element;
    }

    /** Show as many numbers as the shape has, or none yet. */
    show(values, limit = values ? largest(values) : 0) {
        const shown = values ?? new Float32Array(this.channels * this.tileSize);
        this.rasters.forEach((raster, channel) => {
            const start = channel * this.tileSize;
            raster.showNumbers(shown.subarray(start, start + this.tileSize), 0, limit);
        });
        const isPositive = shown.every((value) => value >= 0);
        this.scale.classList.toggle("unknown", !values);
        this.scale.classList.toggle("positive", isPositive);
        this.scale.firstChild.textContent = isPositive ? "0" : number(-limit);
        this.scale.lastChild.textContent = number(limit);
    }

    /** Where a flat index is: its tile, and the row and column in that. */
    place(index) {
        const inTile = index % this.tileSize;
        const channel = Math.floor(index / this.tileSize);
        return {channel, row: Math.floor(inTile / this.width), column: inTile % this.width};
    }

    /** The flat index at a place, or −1 outside. */
    index({channel, row, column}) {
        const inTile = row * this.width + column;
        const isInside = row >= 0 && row < this.height && column >= 0 && column < this.width && inTile < this.tileSize;
        return isInside ? channel * this.tileSize + inTile : -1;
    }

    /** The flat index under a pointer, or −1. */
    indexAt({clientX, clientY}) {
        for (const [channel, {canvas}] of this.rasters.entries()) {
            const {left, top, width, height} = canvas.getBoundingClientRect();
            const column = Math.floor(((clientX - left) / width) * this.width);
            const row = Math.floor(((clientY - top) / height) * this.height);
            const index = this.index({channel, row, column});
            if (index >= 0) return index;
        }
        return -1;
    }
}

/** Rows and columns of n squares, about twice as wide as high; a few stand in one row.  @returns {[number, number]} */
function gridOf(count) {
    const columns = count <= 10 ? count : 2 ** Math.ceil(Math.log2(Math.sqrt(2 * count)));
    return [Math.ceil(count / columns), columns];
}

/** Which size the style sheet gives the squares. */
function kindOf(shape) {
    const [channels, , width = 1] = shape;
    if (width === 1) return channels <= 10 ? "few" : "squares";
    return channels === 1 ? "image" : `maps ${width >= 18 ? "large" : width >= 10 ? "medium" : "small"}`;
}
