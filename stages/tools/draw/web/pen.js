"use strict";

const PAD_SIZE = 280, PEN_WIDTH = 22; // pixels of the canvas, whatever the screen has
const KEY_STEP = 10;

/**
 * The canvas one draws on. Ink is its alpha channel; what was done stands in `steps`, which are drawn anew for undo:
 * a stroke {points}, a loaded image {pixels}, or {} for an emptied canvas.
 */
class Pad {
    /** @param {HTMLCanvasElement} canvas  @param {() => void} onChange */
    constructor(canvas, onChange) {
        Object.assign(this, {canvas, onChange, steps: [], points: null});
        this.context = canvas.getContext("2d", {willReadFrequently: true});
        Object.assign(this.context, {lineWidth: PEN_WIDTH, lineCap: "round", lineJoin: "round", imageSmoothingEnabled: false});
        this.listenToPointer();
    }

    listenToPointer() {
        const {canvas} = this;
        canvas.addEventListener("pointerdown", (event) => {
            if (!event.isPrimary || event.button !== 0) return;
            canvas.setPointerCapture(event.pointerId);
            this.begin(this.position(event));
            this.pointer = event.pointerId;
        });
        canvas.addEventListener("pointermove", (event) => {
            if (event.pointerId !== this.pointer) return;
            const events = event.getCoalescedEvents?.() ?? [];
            for (const each of events.length ? events : [event]) this.extend(this.position(each));
        });
        for (const type of ["pointerup", "pointercancel"]) {
            canvas.addEventListener(type, (event) => {
                if (event.pointerId === this.pointer) this.end();
            });
        }
    }

    position({clientX, clientY}) {
        const {left, top, width, height} = this.canvas.getBoundingClientRect();
        return [((clientX - left) / width) * PAD_SIZE, ((clientY - top) / height) * PAD_SIZE];
    }

    begin(point) {
        this.end();
        this.points = [point];
        this.canvas.classList.add("drawing");
        drawSegment(this.context, this.points, 0);
        this.onChange();
    }

    extend(point) {
        if (!this.points) return;
        this.points.push(point);
        drawSegment(this.context, this.points, this.points.length - 1);
        this.onChange();
    }

    end() {
        this.pointer = null;
        if (!this.points) return;
        drawEnd(this.context, this.points);
        this.steps.push({points: this.points});
        this.points = null;
        this.canvas.classList.remove("drawing");
        this.onChange();
    }

    undo() {
        this.end();
        this.steps.pop();
        this.redraw();
    }

    clear() {
        this.end();
        if (this.isEmpty) return;
        this.steps.push({});
        this.redraw();
    }

    /** @param {Uint8Array} pixels  28 x 28, 0 paper to 255 ink */
    load(pixels) {
        this.end();
        this.steps.push({pixels});
        this.redraw();
    }

    redraw() {
        for (const step of [{}, ...this.steps]) drawStep(this.context, step);
        this.onChange();
    }

    /** Whether nothing was drawn since the start, or since the canvas was cleared. */
    get isEmpty() {
        const last = this.steps.at(-1);
        return !this.points && !last?.points && !last?.pixels;
    }

    /** The loaded image, if nothing was drawn on it since.  @returns {?Uint8Array} */
    get loaded() {
        return this.points ? null : (this.steps.at(-1)?.pixels ?? null);
    }

    /** @returns {Float32Array} PAD_SIZE² numbers, 0 paper to 1 ink */
    ink() {
        const {data} = this.context.getImageData(0, 0, PAD_SIZE, PAD_SIZE);
        const ink = new Float32Array(PAD_SIZE * PAD_SIZE);
        for (let i = 0; i < ink.length; i++) ink[i] = data[4 * i + 3] / 255;
        return ink;
    }

    /** The drawing in black on white, as the command `predict` reads it.  @returns {HTMLCanvasElement} */
    onPaper() {
        const paper = make("canvas", {width: PAD_SIZE, height: PAD_SIZE}), context = paper.getContext("2d");
        context.fillStyle = "white";
        context.fillRect(0, 0, PAD_SIZE, PAD_SIZE);
        context.drawImage(this.canvas, 0, 0);
        return paper;
    }
}

function drawStep(context, {points, pixels}) {
    if (points) {
        points.forEach((_, index) => drawSegment(context, points, index));
        drawEnd(context, points);
        return;
    }
    context.clearRect(0, 0, PAD_SIZE, PAD_SIZE);
    if (!pixels) return;
    const small = make("canvas", {width: 28, height: 28}), image = new ImageData(28, 28);
    pixels.forEach((pixel, i) => (image.data[4 * i + 3] = pixel));
    small.getContext("2d").putImageData(image, 0, 0);
    context.drawImage(small, 0, 0, PAD_SIZE, PAD_SIZE);
}

/** The part of a stroke that a new point allows: a curve between the middles of the last two lines. */
function drawSegment(context, points, index) {
    const before = points[Math.max(index - 1, 0)];
    context.beginPath();
    if (index === 0) {
        context.arc(...before, PEN_WIDTH / 2, 0, 2 * Math.PI);
        context.fill();
        return;
    }
    context.moveTo(...middle(points[Math.max(index - 2, 0)], before));
    context.quadraticCurveTo(...before, ...middle(before, points[index]));
    context.stroke();
}

function drawEnd(context, points) {
    const last = points.at(-1);
    context.beginPath();
    context.moveTo(...middle(points.at(-2) ?? last, last));
    context.lineTo(...last);
    context.stroke();
}

function middle([x1, y1], [x2, y2]) {
    return [(x1 + x2) / 2, (y1 + y2) / 2];
}

/** A pen that the arrow keys move, several at once too, and that Space lowers and lifts. Shift makes small steps. */
class KeyboardPen {
    /** @param {Pad} pad  @param {HTMLElement} mark  shows where the pen is  @param {(text: string) => void} say */
    constructor(pad, mark, say) {
        Object.assign(this, {pad, mark, say, x: PAD_SIZE / 2, y: PAD_SIZE / 4, held: new Set()});
        const {canvas} = pad;
        const steer = (event) => {
            this.held.add(event.key);
            this.move(event.shiftKey ? 2 : KEY_STEP);
        };
        onKeys(canvas, {
            ArrowLeft: steer, ArrowRight: steer, ArrowUp: steer, ArrowDown: steer,
            " ": (event) => event.repeat || this.toggle(),
            Escape: () => this.lift(),
        });
        canvas.addEventListener("keyup", (event) => this.held.delete(event.key));
        canvas.addEventListener("focus", () => this.show());
        canvas.addEventListener("pointerdown", () => (this.mark.hidden = true));
        canvas.addEventListener("blur", () => {
            this.lift();
            this.held.clear();
            this.mark.hidden = true;
        });
    }

    get isDown() {
        return this.pad.points !== null;
    }

    move(step) {
        const along = (less, more) => step * (this.held.has(more) - this.held.has(less));
        this.x = Math.max(0, Math.min(PAD_SIZE, this.x + along("ArrowLeft", "ArrowRight")));
        this.y = Math.max(0, Math.min(PAD_SIZE, this.y + along("ArrowUp", "ArrowDown")));
        if (this.isDown) this.pad.extend([this.x, this.y]);
        this.show(true);
    }

    toggle() {
        if (this.isDown) return this.lift();
        this.pad.begin([this.x, this.y]);
        this.say("Pen down");
        this.show(true);
    }

    lift() {
        if (!this.isDown) return;
        this.pad.end();
        this.say("Pen up");
        this.show(true);
    }

    /** Show the mark while the keyboard is used. */
    show(isUsed = this.pad.canvas.matches(":focus-visible")) {
        this.mark.hidden = !isUsed;
        this.mark.style.left = `${(100 * this.x) / PAD_SIZE}%`;
        this.mark.style.top = `${(100 * this.y) / PAD_SIZE}%`;
    }
}
