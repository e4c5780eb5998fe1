"use strict";

/** A number as text, with two decimals, or more where it is small.  @returns {string} */
function number(value) {
    const size = Math.abs(value);
    const text = size >= 0.095 || size < 0.00005 ? size.toFixed(2) : size.toPrecision(2);
    return value < 0 && Number(text) ? `−${text}` : text;
}

/** A probability as text, never rounded to certainty.  @returns {string} */
function percent(probability, digits = 1) {
    const highest = 100 - 10 ** -digits, value = 100 * probability;
    return value > highest ? `>\u00a0${highest.toFixed(digits)}\u00a0%` : `${value.toFixed(digits)}\u00a0%`;
}

/** A shape as people write it: 16 × 24 × 24. */
function times(shape) {
    return shape.join("\u00a0×\u00a0");
}

/** A list as a phrase: "a", "a and b", "a, b and c". */
function listed(words) {
    return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** A layer's name as PyTorch has it, with its sizes. */
function layerName(layer) {
    const {type} = layer;
    switch (type) {
        case "Linear":
            return `Linear ${layer.in_features} → ${layer.out_features}`;
        case "Conv2d":
            return `Conv2d ${layer.in_channels} → ${layer.out_channels}, ${times(layer.kernel_size)}`;
        case "MaxPool2d":
        case "AvgPool2d":
            return `${type} ${times(layer.kernel_size)}`;
        case "BatchNorm1d":
        case "BatchNorm2d":
            return `${type} ${layer.num_features}`;
        default:
            return type;
    }
}

const SENTENCES = {
    Flatten: ({outputShape}) => `Puts all rows one after the other: ${outputShape[0]} numbers.`,
    Linear: ({in_features}) => `A square for each unit: all ${in_features} numbers before it times its weights, summed up, plus its bias.`,
    Conv2d: ({in_channels, kernel_size}) =>
        `A map for each kernel: it slides over ${in_channels === 1 ? "the image" : `all ${in_channels} maps`} and lights up where its ` +
        `${times(kernel_size)} pattern is.`,
    MaxPool2d: ({kernel_size}) => `Keeps the largest of each ${times(kernel_size)} numbers: smaller maps, to which a small shift matters less.`,
    AvgPool2d: () => "A number for each map: its mean. Where a pattern is no longer matters, only how much of it there is.",
    BatchNorm1d: () => "Rescales each unit by the mean and the standard deviation that it had in training.",
    BatchNorm2d: () => "Rescales each map by the mean and the standard deviation that it had in training.",
    ReLU: () => "Sums below zero become 0. What is left lights up.",
    LeakyReLU: ({negative_slope}) => `Sums below zero shrink to ${number(negative_slope)} of their size. The others stay.`,
    Sigmoid: () => "Squeezes each sum between 0 and 1.",
    Tanh: () => "Squeezes each sum between −1 and 1.",
    GELU: () => "Sums far below zero become 0, those far above stay, with a smooth bend between.",
    Dropout: () => "Zeroes numbers at random in training. Here it changes nothing.",
};

/** What one sees in a layer's image. */
function layerSentence(network, index) {
    const layer = network.layers[index];
    if (index === network.layers.length - 1) {
        return `A score for each class, the logits, from ${layer.in_features} numbers. Softmax turns them into the probabilities of the answer.`;
    }
    return SENTENCES[layer.type]?.(layer) ?? "";
}

/** Where a number is in an output of this shape. */
function unitName(shape, index) {
    if (shape.length === 1) return `unit ${index}`;
    const [channel, row, column] = unravel(index, shape);
    const place = [shape[0] > 1 && `map ${channel}`, product(shape.slice(1)) > 1 && `row ${row}, column ${column}`];
    return place.filter(Boolean).join(", ");
}
