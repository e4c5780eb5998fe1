"use strict";

/** How one number of a layer came about: weights times input, as images and as a sum. It follows the drawing. */
class UnitPanel {
    /** @param {string} name  of the unit  @param {() => void} onClose */
    constructor(network, index, position, name, onClose) {
        Object.assign(this, {network, index, position});
        const close = make("button", {type: "button", class: "close", "aria-label": "Close"}, "×");
        close.addEventListener("click", onClose);
        this.title = make("h5", {tabindex: "-1"}, `${layerName(network.layers[index])}: ${name}`);
        this.images = make("div", {class: "product"});
        this.equation = make("p", {class: "equation"});
        this.sentence = make("p", {class: "sentence"});
        this.element = make("section", {class: "unit", "aria-label": "One unit"}, close, this.title, this.images, this.equation, this.sentence);
        this.element.addEventListener("keydown", (event) => event.key === "Escape" && onClose());
    }

    /** After each forward pass; before the first there is nothing to show. */
    show() {
        if (!this.network.last) {
            this.showNoImages();
            this.equation.textContent = "";
            this.sentence.textContent = "Draw a digit to see how this number comes about.";
            return;
        }
        const unit = this.network.unit(this.index, this.position);
        if (unit.weights) this.showProduct(unit);
        else this.showInput(unit);
    }

    /** A weighted sum: three images of one shape. */
    showProduct({weights, inputs, shape, bias, sum, output}) {
        const products = weights.map((weight, i) => weight * inputs[i]);
        this.showImages(shape, {"weights": weights, "input": inputs, "weights × input": products});
        const hasBias = Boolean(this.network.layers[this.index].bias);
        this.equation.textContent = hasBias ? `sum ${number(sum)} ${signed(bias)} = ${number(output)}` : `sum ${number(sum)}, without a bias`;
        const where = shape.length === 1 ? "squares" : "pixels";
        this.sentence.textContent =
            `Red ${where} on the right push this number up, blue ones push it down. Their sum${hasBias ? " plus the bias" : ""} is its output.`;
    }

    /** A layer without weights for each unit: what came in, and its formula. */
    showInput({inputs, shape, formula}) {
        if (inputs.length > 1) this.showImages(shape, {"input": inputs});
        else this.showNoImages();
        this.equation.textContent = formula;
        this.sentence.textContent = "The formula with the numbers of this unit.";
    }

    showNoImages() {
        this.images.replaceChildren();
        this.shown = 0;
    }

    showImages(shape, numbers) {
        const names = Object.keys(numbers);
        if (this.shown !== names.length) {
            this.numberImages = names.map((name) => new NumberImage(shape, name));
            const signs = ["", "×", "="].map((sign) => make("span", {class: "sign", "aria-hidden": "true"}, sign));
            const figures = this.numberImages.map((image, n) => make("figure", {}, make("figcaption", {}, names[n]), image.fitted(150)));
            this.images.replaceChildren(...figures.map((figure, n) => make("div", {}, ...(n ? [signs[n]] : []), figure)));
            this.shown = names.length;
        }
        this.numberImages.forEach((image, n) => image.show(numbers[names[n]]));
    }
}

/** A negative bias keeps its own sign. */
function signed(bias) {
    return `+ bias ${bias < 0 ? `(${number(bias)})` : number(bias)}`;
}
