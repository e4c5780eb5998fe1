"use strict";

/**
 * What each network answers: large, with its confidence; and below it the probabilities of all classes as bars.
 *
 * The bars of two networks grow from the class between them to the left and to the right.
 */
class Answer {
    /** @param {Network[]} networks  @param {(label: number) => void} onChoose  a class was clicked */
    constructor(networks, labels, onChoose) {
        this.networks = networks;
        this.labels = labels;
        this.cards = networks.map((network) => this.makeCard(network));
        this.rows = Array.from({length: 10}, (_, label) => this.makeRow(label, onChoose));
        const table = make("table", {class: "bars"});
        table.append(make("caption", {class: "hidden"}, "Probability of each class; a button chooses the class that the pixels speak for"));
        table.append(make("colgroup", {}, ...this.ordered(networks.map(() => make("col")), make("col", {class: "class"}))));
        const heads = networks.map(({engine}) => make("th", {scope: "col", "data-engine": engine}, labels[engine]));
        table.append(make("thead", {class: "hidden"}, make("tr", {}, ...this.ordered(heads, make("th", {scope: "col"}, "class")))));
        table.append(make("tbody", {}, ...this.rows.map(({element}) => element)));
        this.table = table;
    }

    /** Cells in a row's order: the class stands between two networks, else first. */
    ordered(cells, head) {
        return cells.length === 2 ? [cells[0], head, cells[1]] : [head, ...cells];
    }

    makeCard({engine}) {
        const digit = make("p", {class: "digit"}, "–"), confidence = make("p", {class: "confidence"}, "\u00a0");
        const element = make("div", {class: "card", "data-engine": engine}, make("h3", {}, this.labels[engine]), digit, confidence);
        return {element, digit, confidence};
    }

    makeRow(label, onChoose) {
        const button = make("button", {type: "button", "aria-pressed": "false"}, String(label));
        const bars = this.networks.map(() => make("i", {"aria-hidden": "true"}));
        const values = this.networks.map(() => make("span", {}, ""));
        const cells = this.networks.map(({engine}, n) => make("td", {"data-engine": engine}, make("div", {}, bars[n], values[n])));
        const element = make("tr", {}, ...this.ordered(cells, make("th", {scope: "row"}, button)));
        element.addEventListener("click", () => onChoose(label));
        return {element, button, bars, values};
    }

    /** @param {?Float32Array[]} probabilities  of each network; null where there is no digit */
    show(probabilities) {
        this.cards.forEach(({element, digit, confidence}, n) => {
            const answer = probabilities ? argmax(probabilities[n]) : null;
            digit.textContent = answer ?? "–";
            confidence.textContent = probabilities ? percent(probabilities[n][answer]) : "\u00a0";
            element.classList.toggle("empty", !probabilities);
        });
        this.rows.forEach(({element, bars, values}, label) => {
            bars.forEach((bar, n) => {
                const probability = probabilities?.[n][label] ?? 0;
                bar.style.setProperty("--value", `${100 * probability}%`);
                values[n].textContent = probabilities ? percent(probability) : "";
            });
            element.classList.toggle("best", Boolean(probabilities?.some((each) => argmax(each) === label)));
        });
    }

    /** Mark the class that was clicked; null for none. */
    choose(chosen) {
        this.rows.forEach(({button}, label) => button.setAttribute("aria-pressed", String(label === chosen)));
    }

    /** One sentence: the answers, and whether they agree. */
    sentence(probabilities) {
        const answers = probabilities.map(argmax), names = this.networks.map(({engine}) => this.labels[engine]);
        if (answers.every((answer) => answer === answers[0])) {
            return answers.length > 1 ? `They agree: ${answers[0]}.` : `${names[0]} reads ${answers[0]}.`;
        }
        return `They disagree: ${listed(names.map((name, n) => `${name} reads ${answers[n]}`))}.`;
    }

    /** The same with confidences, for those who do not see the bars. */
    announcement(probabilities) {
        const parts = probabilities.map((each, n) => `${this.labels[this.networks[n].engine]} ${percent(each[argmax(each)], 0)}`);
        return `${this.sentence(probabilities)} Confidence: ${listed(parts)}.`;
    }
}

function argmax(values) {
    return values.indexOf(Math.max(...values));
}
