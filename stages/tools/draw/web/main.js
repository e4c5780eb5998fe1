"use strict";

/** Puts the parts together: a change of the drawing is prepared, goes through every network, and into every view. */
class Page {
    constructor({networks, labels, gallery}) {
        const byId = (id) => document.getElementById(id);
        this.networks = networks.map((description) => new Network(description));
        Object.assign(this, {status: byId("status"), announcement: byId("announcement"), hint: byId("hint")});
        this.pad = new Pad(byId("pad"), () => this.schedule());
        this.pen = new KeyboardPen(this.pad, byId("pen"), (text) => (this.announcement.textContent = text));
        this.seen = new Raster(28, 28);
        byId("seen").append(this.seen.canvas);
        this.answer = new Answer(this.networks, labels, (label) => this.choose(label));
        byId("cards").prepend(this.answer.cards[0].element);
        byId("cards").append(...this.answer.cards.slice(1).map(({element}) => element));
        byId("answer").append(this.answer.table);
        this.inside = new Inside(this.networks, labels, byId("inside"));
        this.pixels = new PixelsView(this.networks, labels, byId("pixels"), (label) => this.choose(label));
        this.gallery = new Gallery(gallery, labels, byId("gallery"), (pixels) => this.load(pixels));
        this.buttons = {undo: byId("undo"), clear: byId("clear"), save: byId("save")};
        byId("lead").textContent = lead(this.networks, labels, gallery);
        this.listen();
        this.update();
    }

    listen() {
        const {undo, clear, save} = this.buttons;
        undo.addEventListener("click", () => this.pad.undo());
        clear.addEventListener("click", () => this.pad.clear());
        save.addEventListener("click", () => this.save());
        document.addEventListener("keydown", (event) => {
            if (event.key.toLowerCase() !== "z" || !(event.ctrlKey || event.metaKey) || event.shiftKey) return;
            event.preventDefault();
            this.pad.undo();
        });
        darkScheme.addEventListener("change", () => this.schedule());
    }

    /** Update once before the next frame, however much is drawn until then. */
    schedule() {
        this.frame ??= requestAnimationFrame(() => {
            this.frame = null;
            this.update();
        });
    }

    update() {
        const {loaded} = this.pad;
        const digits = loaded ? [loaded] : prepareDrawing(this.pad.ink(), PAD_SIZE, PAD_SIZE).digits;
        const pixels = digits.length === 1 ? digits[0] : null;
        for (const network of this.networks) {
            if (pixels) network.forward(pixels);
            else network.last = null;
        }
        const probabilities = pixels && this.networks.map(({last}) => last.probabilities);
        this.seen.showGray(pixels ?? new Uint8Array(784));
        this.answer.show(probabilities);
        this.inside.show();
        this.pixels.show(pixels);
        this.hint.hidden = !this.pad.isEmpty;
        this.buttons.undo.disabled = !this.pad.steps.length && !this.pad.points;
        this.buttons.clear.disabled = this.buttons.save.disabled = this.pad.isEmpty;
        this.report(digits.length, probabilities);
    }

    /** Say the answer: at once on the page, and to screen readers when the pen has rested. */
    report(count, probabilities) {
        const refusal = count ? `${count} digits: draw one.` : "Draw, and see the answer.";
        this.status.textContent = probabilities ? this.answer.sentence(probabilities) : refusal;
        clearTimeout(this.timer);
        const text = probabilities ? this.answer.announcement(probabilities) : count ? refusal : "";
        this.timer = setTimeout(() => (this.announcement.textContent = text), 700);
    }

    /** Ask which pixels speak for a class; null, or the same again, asks about the answers. */
    choose(label) {
        this.pixels.choose(this.pixels.chosen === label ? null : label);
        this.answer.choose(this.pixels.chosen);
    }

    /** Where the canvas is on the screen, focus stays with the gallery, so that one can go through it. */
    load(pixels) {
        this.pad.load(pixels);
        const {canvas} = this.pad;
        if (isOnScreen(canvas)) return;
        canvas.focus({preventScroll: true});
        canvas.scrollIntoView({block: "center"});
    }

    save() {
        this.pad.onPaper().toBlob((blob) => {
            const address = URL.createObjectURL(blob);
            make("a", {href: address, download: "digit.png"}).click();
            setTimeout(() => URL.revokeObjectURL(address), 1000);
        });
    }
}

/** On what the networks were trained, and how well. */
function lead(networks, labels, {dataset}) {
    const accuracies = networks.map(({engine, accuracy}) => `${labels[engine]} ${percent(accuracy, 2)}`);
    return `Trained on ${dataset}. Test accuracy: ${accuracies.join(", ")}.`;
}

const page = new Page(JSON.parse(document.getElementById("data").textContent));
