"use strict";

/**
 * A drawing, brought to the form of MNIST's images: stages/tools/handwriting/digits.py and mnist.py in JavaScript,
 * under the same names, so that the page and `make predict` see the same in the same picture. The page draws with
 * one ink on plain paper, so it needs nothing of what finds the ink in a photo.
 *
 * A picture is {height, width, values}: values is a Float64Array of height * width numbers, 0 for paper to 1 for ink.
 * A box is {top, bottom, left, right}, bottom and right excluded; a digit is {strokes: Set of labels, box}.
 */

const SIDE = 28;
const BOX = 20;
const CENTER = SIDE / 2;
const TINY = 1e-6; // more than the error of a sum
const FINE = 4; // strokes are thickened on a grid with so many points a pixel
const THIN = 1.5;
const THICKENED = 2.0; // pixels

const FAINT = 0.15;
const FIRM = 0.5; // a stroke is connected ink of at least FAINT that is FIRM somewhere
const TALL = 0.4; // of the tallest stroke's height: what is less tall is part of a digit, or a speck
const NEAR = 0.15; // of that height: how far a part may be from the rest of its digit
const BROKEN = 0.12; // of that height: the gap in a digit whose line was interrupted
const FLAT = 0.2; // of that height: what is less tall, wide and beside a digit is a dash
const SPECK = 0.01; // of the largest stroke's ink

/**
 * The digits of a drawing from left to right, each as 28 x 28 pixels from 0 (black) to 255; none if it is blank.
 * @param {ArrayLike<number>} ink  height * width numbers, 0 for paper to 1 for ink
 * @returns {{digits: Uint8Array[]}}
 */
function prepareDrawing(ink, width, height) {
    const largest = largestOf(ink) || 1;
    const picture = {height, width, values: Float64Array.from(ink, (value) => value / largest)};
    const {labels, strokes} = findStrokes(picture);
    const digits = joinBroken(joinStrokes(strokes), 1);
    return {digits: digits.map((digit) => toMnist(cutOut(picture, labels, digit)))};
}

/** Label connected ink, diagonals included, and return what is no speck, each as a digit of its own. */
function findStrokes(picture) {
    const labels = new Int32Array(picture.values.length);
    const found = [];
    for (let start = 0; start < labels.length; start++) {
        if (picture.values[start] >= FAINT && !labels[start]) {
            found.push(fillStroke(picture, labels, start, found.length + 1));
        }
    }
    const firm = found.filter((stroke) => stroke.darkest >= FIRM);
    const largest = Math.max(0, ...firm.map((stroke) => stroke.amount));
    return {labels, strokes: firm.filter((stroke) => stroke.amount >= SPECK * largest)};
}

/** Give a label to all that is connected with one pixel. */
function fillStroke({height, width, values}, labels, start, label) {
    const box = {top: height, bottom: 0, left: width, right: 0};
    let [darkest, amount] = [0, 0];
    const open = [start];
    labels[start] = label;
    while (open.length) {
        const index = open.pop();
        const [row, column] = [Math.floor(index / width), index % width];
        box.top = Math.min(box.top, row);
        box.bottom = Math.max(box.bottom, row + 1);
        box.left = Math.min(box.left, column);
        box.right = Math.max(box.right, column + 1);
        darkest = Math.max(darkest, values[index]);
        amount += values[index];
        for (let y = Math.max(0, row - 1); y <= Math.min(height - 1, row + 1); y++) {
            for (let x = Math.max(0, column - 1); x <= Math.min(width - 1, column + 1); x++) {
                if (values[y * width + x] >= FAINT && !labels[y * width + x]) {
                    labels[y * width + x] = label;
                    open.push(y * width + x);
                }
            }
        }
    }
    return {strokes: new Set([label]), box, darkest, amount};
}

/** Tall strokes side by side are digits; a small stroke belongs to the one that it is near, or to none. */
function joinStrokes(strokes) {
    const tallest = Math.max(0, ...strokes.map(({box}) => boxHeight(box)));
    const inOrder = [...strokes].sort((a, b) => a.box.left - b.box.left || a.box.top - b.box.top);
    const digits = [];
    for (const stroke of inOrder.filter(({box}) => boxHeight(box) >= TALL * tallest)) {
        const last = digits.at(-1);
        if (last && -gap(last.box, stroke.box) >= Math.min(boxWidth(last.box), boxWidth(stroke.box)) / 2) {
            digits[digits.length - 1] = joined(last, stroke);
        } else {
            digits.push(stroke);
        }
    }
    for (const stroke of inOrder.filter(({box}) => boxHeight(box) < TALL * tallest)) {
        const distances = digits.map((digit) => distance(digit.box, stroke.box));
        const nearest = distances.indexOf(Math.min(...distances));
        const isFlat = boxHeight(stroke.box) < FLAT * tallest && boxWidth(stroke.box) > 1.5 * boxHeight(stroke.box);
        const isDash = isFlat && gap(digits[nearest].box, stroke.box) >= 0;
        if (distances[nearest] <= NEAR * tallest && !isDash) {
            digits[nearest] = joined(digits[nearest], stroke);
        }
    }
    return digits;
}

/** Where there are more than expected, join what only a narrow gap separates. */
function joinBroken(digits, expected) {
    const tallest = Math.max(0, ...digits.map(({box}) => boxHeight(box)));
    const result = [...digits];
    while (result.length > expected) {
        const gaps = result.slice(1).map((digit, index) => gap(result[index].box, digit.box));
        const first = gaps.indexOf(Math.min(...gaps));
        if (gaps[first] > BROKEN * tallest) {
            break;
        }
        result.splice(first, 2, joined(result[first], result[first + 1]));
    }
    return result;
}

/** The ink in a digit's box without the strokes that are not its own. */
function cutOut({width, values}, labels, {strokes, box}) {
    const part = {height: boxHeight(box), width: boxWidth(box), values: new Float64Array(boxHeight(box) * boxWidth(box))};
    for (let row = 0; row < part.height; row++) {
        for (let column = 0; column < part.width; column++) {
            const index = (box.top + row) * width + box.left + column;
            const isOwn = labels[index] === 0 || strokes.has(labels[index]);
            part.values[row * part.width + column] = isOwn ? values[index] : 0;
        }
    }
    return part;
}

/** Scale one digit, cut out at its bounding box, and put its center of mass in the middle. */
function toMnist(ink) {
    const longest = Math.max(ink.height, ink.width);
    const [height, width] = [ink.height, ink.width].map((length) => Math.max(1, roundHalfUp((BOX * length) / longest)));
    const digit = areaAverage(thicken(areaAverage(ink, height * FINE, width * FINE)), height, width);
    const brightest = largestOf(digit.values);
    digit.values = digit.values.map((value) => value / brightest);
    const [row, column] = centerOfMass(digit).map((center) => roundHalfUp(CENTER - center));
    return place(digit, row, column);
}

/** Put a digit on a black image, its first pixel at `row` and `column`; what lies outside is cut off. */
function place(digit, row, column) {
    const pixels = new Uint8Array(SIDE * SIDE);
    for (let y = Math.max(0, -row); y < Math.min(digit.height, SIDE - row); y++) {
        for (let x = Math.max(0, -column); x < Math.min(digit.width, SIDE - column); x++) {
            pixels[(row + y) * SIDE + column + x] = roundHalfUp(255 * digit.values[y * digit.width + x]);
        }
    }
    return pixels;
}

/** Resize: each new pixel is the mean of the area that it covers. */
function areaAverage(ink, height, width) {
    const narrow = averageRows(transposed(ink), width);
    return averageRows(transposed(narrow), height);
}

/** Resize the height alone. */
function averageRows({height: old, width, values}, height) {
    const result = {height, width, values: new Float64Array(height * width)};
    for (let row = 0; row < height; row++) {
        const [start, end] = [row * (old / height), (row + 1) * (old / height)];
        for (let source = Math.floor(start); source < Math.min(old, end); source++) {
            const weight = Math.max(0, Math.min(end, source + 1) - Math.max(start, source)) * (height / old);
            for (let column = 0; column < width; column++) {
                result.values[row * width + column] += weight * values[source * width + column];
            }
        }
    }
    return result;
}

function transposed({height, width, values}) {
    return {height: width, width: height, values: values.map((_, i) => values[(i % height) * width + Math.floor(i / height)])};
}

/** Widen the strokes of a thin pen, which would fade when scaled down: gray dilation by a disk. */
function thicken(fine) {
    const width = strokeWidth(fine) / FINE;
    if (width >= THIN) {
        return fine;
    }
    const radius = (FINE * (THICKENED - width)) / 2;
    const reach = Math.ceil(radius);
    const values = new Float64Array(fine.values.length);
    for (let y = -reach; y <= reach; y++) {
        for (let x = -reach; x <= reach; x++) {
            if (y * y + x * x <= radius * radius) {
                raise(values, fine, y, x);
            }
        }
    }
    return {...fine, values};
}

/** Raise each value to that which lies `y` rows and `x` columns from it. */
function raise(values, {height, width, values: source}, y, x) {
    for (let row = Math.max(0, -y); row < Math.min(height, height - y); row++) {
        for (let column = Math.max(0, -x); column < Math.min(width, width - x); column++) {
            const index = row * width + column;
            values[index] = Math.max(values[index], source[index + y * width + x]);
        }
    }
}

/** The mean width of the strokes in pixels: twice the area over the perimeter of what is at least half ink. */
function strokeWidth({height, width, values}) {
    const half = 0.5 * largestOf(values);
    const isInk = (row, column) =>
        row >= 0 && row < height && column >= 0 && column < width && values[row * width + column] >= half;
    let [area, steps] = [0, 0];
    for (let row = -1; row < height; row++) {
        for (let column = -1; column < width; column++) {
            const here = isInk(row, column);
            area += here;
            steps += (here !== isInk(row, column + 1)) + (here !== isInk(row + 1, column));
        }
    }
    return (2 * area) / ((steps * Math.PI) / 4);
}

/** [row, column] */
function centerOfMass({height, width, values}) {
    let [total, rows, columns] = [0, 0, 0];
    for (let row = 0; row < height; row++) {
        for (let column = 0; column < width; column++) {
            const value = values[row * width + column];
            total += value;
            rows += row * value;
            columns += column * value;
        }
    }
    return [rows / total, columns / total];
}

/** A half is one also where it was computed with an error: symmetric digits have their center of mass at one. */
function roundHalfUp(value) {
    return Math.floor(value + 0.5 + TINY);
}

function largestOf(values) {
    let largest = 0;
    for (const value of values) largest = Math.max(largest, value);
    return largest;
}

function joined(first, second) {
    return {strokes: new Set([...first.strokes, ...second.strokes]), box: union(first.box, second.box)};
}

function union(a, b) {
    return {
        top: Math.min(a.top, b.top),
        bottom: Math.max(a.bottom, b.bottom),
        left: Math.min(a.left, b.left),
        right: Math.max(a.right, b.right),
    };
}

function boxHeight(box) {
    return box.bottom - box.top;
}

function boxWidth(box) {
    return box.right - box.left;
}

/** Columns between two boxes, negative where they overlap. */
function gap(a, b) {
    return Math.max(a.left, b.left) - Math.min(a.right, b.right);
}

/** Rows or columns between two boxes, whichever are more. */
function distance(a, b) {
    return Math.max(gap(a, b), Math.max(a.top, b.top) - Math.min(a.bottom, b.bottom));
}
