"use strict";

/**
 * Which pixels speak for a class and against it: gradient times input.
 *
 * A pixel's contribution is d logit / d standardized pixel · (pixel / 255) / std: what the logit would lose, were it to
 * fall on a straight line, if the pixel became black. What is black already contributes nothing.
 */
class PixelsView {
    /** @param {(label: ?number) => void} onChoose  a class was asked for, or null for the answer */
    constructor(networks, labels, section, onChoose) {
        Object.assign(this, {networks, labels, chosen: null, pixels: null, isVisible: false});
        this.seen = new Raster(28, 28);
        const image = make("div", {class: "field image", role: "img", "aria-label": "The image, 28 by 28 pixels"}, this.seen.canvas);
        const figures = [make("figure", {}, make("figcaption", {}, "the image"), image)];
        this.views = networks.map((network) => {
            const contributions = new NumberImage([1, 28, 28], `Contributions of the pixels in ${labels[network.engine]}`);
            const caption = make("figcaption"), sums = make("p", {class: "sums"});
            figures.push(make("figure", {"data-engine": network.engine}, caption, contributions.element, sums));
            return {network, contributions, caption, sums};
        });
        this.sentence = make("p", {class: "sentence"});
        this.buttons = [null, ...Array(10).keys()].map((label) => {
            const button = make("button", {type: "button"}, label === null ? "the answer" : String(label));
            button.addEventListener("click", () => onChoose(label));
            return button;
        });
        const choice = make("div", {class: "classes-choice", role: "group", "aria-label": "Class to speak for"}, ...this.buttons);
        section.append(this.sentence, choice, make("div", {class: "figures"}, ...figures));
        this.choose(null);
        onVisible(section, (isVisible) => {
            this.isVisible = isVisible;
            this.show(this.pixels);
        });
    }

    choose(label) {
        this.chosen = label;
        this.buttons.forEach((button, n) => button.setAttribute("aria-pressed", String(n === (label === null ? 0 : label + 1))));
        this.show(this.pixels);
    }

    /** @param {?Uint8Array} pixels  of the last forward pass, or null */
    show(pixels) {
        this.pixels = pixels;
        if (!this.isVisible) return;
        this.seen.showGray(pixels ?? new Uint8Array(784));
        this.sentence.textContent =
            `Red pixels speak for ${this.chosen ?? "the answer"}, blue ones against it: gradient times input. ` +
            "Choose a class here or at its bar.";
        for (const view of this.views) this.showNetwork(view, pixels);
    }

    showNetwork({network, contributions, caption, sums}, pixels) {
        const name = this.labels[network.engine];
        if (!pixels) {
            contributions.show(null);
            caption.textContent = name;
            sums.textContent = "\u00a0";
            return;
        }
        const label = this.chosen ?? argmax(network.last.probabilities);
        const gradient = network.gradient(label);
        const values = gradient.map((slope, i) => (slope * pixels[i]) / 255 / network.std);
        contributions.show(values);
        caption.textContent = `${name}, for ${label}`;
        const total = (keep) => number(values.reduce((sum, value) => (keep(value) ? sum + value : sum), 0));
        sums.textContent = `for +${total((value) => value > 0)}, against ${total((value) => value < 0)}`;
    }
}
