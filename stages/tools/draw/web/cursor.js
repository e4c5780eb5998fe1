"use strict";

/** Lets a number of a NumberImage be pointed at: by mouse or finger, or with the arrow keys and Enter. */
class Cursor {
    /**
     * @param {NumberImage} image
     * @param {(index: number) => void} onPoint  what is pointed at has changed
     * @param {(index: number) => void} onChoose  it was clicked
     */
    constructor(image, label, onPoint, onChoose) {
        Object.assign(this, {image, onPoint, index: 0});
        this.mark = make("span", {class: "mark", hidden: ""});
        this.chosenMark = make("span", {class: "mark chosen", hidden: ""});
        const {field} = image;
        field.setAttribute("tabindex", "0");
        field.setAttribute("role", "application");
        field.setAttribute("aria-label", label);
        field.addEventListener("pointermove", (event) => this.point(image.indexAt(event)));
        field.addEventListener("pointerleave", () => this.leave());
        field.addEventListener("focus", () => field.matches(":focus-visible") && this.point(this.index));
        field.addEventListener("blur", () => this.leave());
        field.addEventListener("click", (event) => {
            const index = image.indexAt(event);
            if (index < 0) return;
            this.index = index;
            onChoose(index);
        });
        const choose = () => onChoose(this.index);
        onKeys(field, {
            ArrowLeft: () => this.move(0, -1),
            ArrowRight: () => this.move(0, 1),
            ArrowUp: () => this.move(-1, 0),
            ArrowDown: () => this.move(1, 0),
            Enter: choose,
            " ": choose,
        });
    }

    /** One square further; beyond the edge of a feature map follows the next one. */
    move(rows, columns) {
        const {image} = this, place = image.place(this.index);
        const next = {...place, row: place.row + rows, column: place.column + columns};
        let index = image.index(next);
        if (index < 0 && image.channels > 1) {
            const channel = place.channel + rows + columns;
            const row = (next.row + image.height) % image.height, column = (next.column + image.width) % image.width;
            if (channel >= 0 && channel < image.channels) index = image.index({channel, row, column});
        }
        if (index >= 0) this.point(index);
    }

    point(index) {
        if (index < 0) return this.leave();
        this.index = index;
        this.put(this.mark, index);
        this.onPoint(index);
    }

    leave() {
        this.mark.hidden = true;
        this.onPoint(-1);
    }

    /** Mark the number whose panel is open; −1 for none. */
    choose(index) {
        if (index < 0) this.chosenMark.hidden = true;
        else this.put(this.chosenMark, index);
    }

    /** Frame a number. */
    put(mark, index) {
        const {channel, row, column} = this.image.place(index);
        this.image.tiles[channel].append(mark);
        mark.style.left = `${(100 * column) / this.image.width}%`;
        mark.style.top = `${(100 * row) / this.image.height}%`;
        mark.style.width = `${100 / this.image.width}%`;
        mark.style.height = `${100 / this.image.height}%`;
        mark.hidden = false;
    }
}
