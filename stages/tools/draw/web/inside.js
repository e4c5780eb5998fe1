"use strict";

/** One layer: its name, its output as an image, and a sentence about it. Index −1 is the input. */
class LayerView {
    /** @param {(view: LayerView, position: number) => void} onChoose  a number was clicked */
    constructor(network, index, onChoose) {
        Object.assign(this, {network, index, isVisible: false});
        const layer = network.layers[index];
        const name = layer ? layerName(layer) : "Input 28 × 28";
        const sentence = layer ? layerSentence(network, index) : inputSentence(network);
        this.readout = make("p", {class: "readout", "aria-live": "polite"});
        const head = make("div", {class: "name"}, make("h4", {}, name), this.readout);
        this.element = make("article", {class: "layer"}, head, make("p", {class: "sentence"}, sentence));
        if (["Flatten", "Dropout"].includes(layer?.type)) return; // the same numbers as before
        const shape = layer ? layer.outputShape : [1, 28, 28];
        this.image = new NumberImage(shape, `${name}: ${times(shape)} numbers`);
        if (layer) {
            const label = `${name}, ${times(shape)} numbers: arrow keys point at one, Enter opens it`;
            this.cursor = new Cursor(this.image, label, (position) => this.point(position), (position) => onChoose(this, position));
        }
        if (index === network.layers.length - 1) this.image.element.prepend(classLabels(shape[0]));
        this.element.append(this.image.element);
        onVisible(this.element, (isVisible) => {
            this.isVisible = isVisible;
            this.show();
        });
    }

    get values() {
        const {last} = this.network;
        return last && (this.index < 0 ? last.input : last.outputs[this.index]);
    }

    show() {
        if (!this.image || !this.isVisible) return;
        this.image.show(this.values);
        this.read();
    }

    point(position) {
        this.pointed = position;
        this.read();
    }

    /** Say what is pointed at. */
    read() {
        const {pointed, values} = this;
        const isPointed = pointed >= 0 && values;
        this.readout.textContent = isPointed ? `${unitName(this.image.shape, pointed)}: ${number(values[pointed])}` : "";
    }
}

function inputSentence({mean, std}) {
    const [black, white] = [0, 1].map((pixel) => number((pixel - mean) / std));
    return `The pixels as the network gets them, standardized: black is ${black}, white is ${white}.`;
}

function classLabels(count) {
    return make("div", {class: "classes", "aria-hidden": "true"}, ...Array.from({length: count}, (_, label) => make("span", {}, String(label))));
}

/** All layers of one network in order, and the panel of the unit that was clicked. */
class NetworkView {
    constructor(network, label) {
        this.network = network;
        const choose = (view, position) => this.choose(view, position);
        this.views = [-1, ...network.layers.keys()].map((index) => new LayerView(network, index, choose));
        this.grid = make("div", {class: "layers"}, ...this.views.map(({element}) => element));
        this.element = make("div", {class: "network", "data-engine": network.engine}, make("h3", {}, label), this.grid);
    }

    choose(view, position) {
        this.close();
        this.chosen = view;
        const name = unitName(view.image.shape, position);
        this.panel = new UnitPanel(this.network, view.index, position, name, () => {
            this.close();
            view.image.field.focus({preventScroll: true});
        });
        view.cursor.choose(position);
        view.element.after(this.panel.element);
        this.panel.show();
    }

    close() {
        this.chosen?.cursor.choose(-1);
        this.panel?.element.remove();
        this.panel = this.chosen = null;
    }

    show() {
        if (!this.element.offsetParent) return; // the other network is chosen
        for (const view of this.views) view.show();
        this.panel?.show();
    }
}

/** The layers of the network chosen, or on wide screens of all. */
class Inside {
    constructor(networks, labels, section) {
        this.views = networks.map((network) => new NetworkView(network, labels[network.engine]));
        this.section = section;
        const choice = make("fieldset", {class: "choice"}, make("legend", {class: "hidden"}, "Network"));
        for (const {engine} of networks) {
            const radio = make("input", {type: "radio", name: "engine", value: engine});
            radio.addEventListener("change", () => this.choose(engine));
            choice.append(make("label", {"data-engine": engine}, radio, labels[engine]));
        }
        choice.querySelector("input").checked = true;
        choice.hidden = networks.length === 1;
        section.append(choice, make("div", {class: "networks"}, ...this.views.map(({element}) => element)));
        this.choose(networks[0].engine);
    }

    choose(engine) {
        for (const {element, network} of this.views) element.classList.toggle("chosen", network.engine === engine);
        this.show();
    }

    show() {
        for (const view of this.views) view.show();
    }
}
