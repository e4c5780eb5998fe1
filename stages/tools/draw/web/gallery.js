"use strict";

const SHOWN_AT_FIRST = 24;

/** Test images: what each network gets wrong, and some that all get right. A click loads one. */
class Gallery {
    /** @param {object} gallery  as stages/tools/draw/gallery.py makes it  @param {(pixels: Uint8Array) => void} onLoad */
    constructor(gallery, labels, section, onLoad) {
        const bytes = Uint8Array.from(atob(gallery.pixels), (character) => character.charCodeAt(0));
        this.image = (place) => bytes.subarray(784 * place, 784 * (place + 1));
        this.onLoad = onLoad;
        const names = gallery.wrong.map(({engine}) => labels[engine]);
        section.append(
            make("p", {class: "sentence"}, `From the ${gallery.count.toLocaleString("en")} test images of ${gallery.dataset}. Click one to load it into the canvas and see why.`),
        );
        for (const {engine, total, items} of gallery.wrong) {
            const some = items.length < total ? `the first ${items.length} of ${total}` : total;
            const title = `Misread by ${labels[engine]}: ${some}, most confident first`;
            const caption = ({label, answer, confidence}) => `${label}, read as ${answer} (${percent(confidence, 0)})`;
            this.add(section, title, engine, items, caption);
        }
        this.add(section, `Read right by ${listed(names)}: some at random`, null, gallery.right, ({label}) => String(label));
    }

    add(section, title, engine, items, caption) {
        if (!items.length) return;
        const list = make("ul", {class: "thumbnails"});
        const more = make("button", {type: "button"}, `Show all ${items.length}`);
        const append = (some) => list.append(...some.map((item) => this.thumbnail(item, caption(item))));
        append(items.slice(0, SHOWN_AT_FIRST));
        more.hidden = items.length <= SHOWN_AT_FIRST;
        more.addEventListener("click", () => {
            const next = list.children.length;
            append(items.slice(SHOWN_AT_FIRST));
            more.remove();
            list.children[next].firstChild.focus();
        });
        section.append(make("section", engine ? {"data-engine": engine} : {}, make("h3", {}, title), list, more));
    }

    thumbnail({image}, caption) {
        const raster = new Raster(28, 28), pixels = this.image(image);
        raster.showGray(pixels);
        const button = make("button", {type: "button", class: "thumbnail"}, raster.canvas, make("span", {}, caption));
        button.addEventListener("click", () => this.onLoad(pixels));
        return make("li", {}, button);
    }
}
