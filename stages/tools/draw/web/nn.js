"use strict";

/*
 * Both engines' networks at inference, layer by layer: read it beside stages/engines/scratch, which has the same names
 * and formulas for a batch of images, and in training.
 *
 * Here one image passes at a time. Its activations are a flat Float32Array in PyTorch's order: [features], or
 * [channels, height, width] with the width innermost. Every sum is in double precision, as JavaScript's numbers are.
 */

/** A layer: forward(x) returns its output, and keeps what backward needs; here one that passes its input on. */
class Module {
    /**
     * @param {object} description  its type, the arguments of PyTorch's constructor, and its arrays as base64
     * @param {number[]} inputShape  [features] or [channels, height, width]
     */
    constructor(description, inputShape) {
        for (const [name, value] of Object.entries(description)) {
            this[name] = typeof value === "string" && name !== "type" ? decodeFloats(value) : value;
        }
        this.inputShape = inputShape;
    }

    /** @returns {number[]} the shape of the output, here the input's */
    get outputShape() {
        return this.inputShape;
    }

    /** @param {Float32Array} x  @returns {Float32Array} */
    forward(x) {
        return x;
    }

    /** ∂L/∂x from ∂L/∂y, by the chain rule.  @param {Float32Array} gradOutput  @returns {Float32Array} */
    backward(gradOutput) {
        return gradOutput;
    }

    /** How the output at a position came from the input x: see Network.unit. */
    explain(position, x, output) {
        const formula = `x = ${short(output)}, unchanged`;
        return {weights: null, inputs: x.subarray(position, position + 1), shape: [1], bias: 0, sum: output, formula};
    }
}

/** [a, b, ...] -> [a·b·...]: the numbers stay as they are. */
class Flatten extends Module {
    get outputShape() {
        return [product(this.inputShape)];
    }
}

/** Zeroes inputs at random in training, and is the identity at inference. */
class Dropout extends Module {}

/** y = W x + b: weight W [out_features, in_features], bias b [out_features]. */
class Linear extends Module {
    constructor(description, inputShape) {
        super(description, inputShape);
        this.rows = splitRows(this.weight, this.out_features);
    }

    get outputShape() {
        return [this.out_features];
    }

    forward(x) {
        return Float32Array.from(this.rows, (row, output) => dot(row, x) + (this.bias?.[output] ?? 0));
    }

    /** ∂L/∂x = Wᵀ g with g = gradOutput: each output's gradient goes back through the weights that produced it. */
    backward(gradOutput) {
        const gradient = new Float64Array(this.in_features);
        this.rows.forEach((row, output) => addScaled(gradient, gradOutput[output], row));
        return new Float32Array(gradient);
    }

    explain(position, x, output) {
        return explainSum(this.rows[position], x, this.inputShape, this.bias?.[position] ?? 0, output);
    }
}

/**
 * Y[o, y, x] = b[o] + Σ over c, i, j of W[o, c, i, j] X[c, y·stride + i, x·stride + j], on zero-padded input X.
 *
 * Weight W is [out_channels, in_channels, kernel height, kernel width], bias b [out_channels].
 */
class Conv2d extends Module {
    constructor(description, inputShape) {
        super(description, inputShape);
        this.kernels = splitRows(this.weight, this.out_channels);
    }

    get outputShape() {
        return [this.out_channels, ...windowCounts(this)];
    }

    /** The window of x under one output, a column of im2col, with which a kernel has its dot product. */
    patch(x, row, column) {
        const indices = windowIndices(this, row, column), inputs = new Float32Array(indices.length);
        for (let i = 0; i < indices.length; i++) inputs[i] = indices[i] < 0 ? 0 : x[indices[i]];
        return inputs;
    }

    forward(x) {
        const [channels, height, width] = this.outputShape;
        const outputs = new Float32Array(channels * height * width);
        for (let row = 0; row < height; row++) {
            for (let column = 0; column < width; column++) {
                const inputs = this.patch(x, row, column);
                for (let channel = 0; channel < channels; channel++) {
                    const sum = dot(this.kernels[channel], inputs) + (this.bias?.[channel] ?? 0);
                    outputs[(channel * height + row) * width + column] = sum;
                }
            }
        }
        return outputs;
    }

    /** A column's gradient is Wᵀ g; then col2im: a pixel is in several windows, and its gradient is their sum. */
    backward(gradOutput) {
        const [channels, height, width] = this.outputShape;
        const gradient = new Float64Array(product(this.inputShape));
        for (let row = 0; row < height; row++) {
            for (let column = 0; column < width; column++) {
                const indices = windowIndices(this, row, column), gradColumn = new Float64Array(indices.length);
                for (let channel = 0; channel < channels; channel++) {
                    addScaled(gradColumn, gradOutput[(channel * height + row) * width + column], this.kernels[channel]);
                }
                for (let i = 0; i < indices.length; i++) {
                    if (indices[i] >= 0) gradient[indices[i]] += gradColumn[i];
                }
            }
        }
        return new Float32Array(gradient);
    }

    explain(position, x, output) {
        const [channel, row, column] = unravel(position, this.outputShape);
        const shape = [this.in_channels, ...this.kernel_size], bias = this.bias?.[channel] ?? 0;
        return explainSum(this.kernels[channel], this.patch(x, row, column), shape, bias, output);
    }
}

/** Pools each window of each channel to one number; rows and columns that fill no window are left out. */
class Pool2d extends Module {
    get outputShape() {
        return [this.inputShape[0], ...windowCounts(this)];
    }

    /** The indices into the input under the window of one output. */
    window(position) {
        const [channel, row, column] = unravel(position, this.outputShape);
        return windowIndices(this, row, column, channel, channel + 1);
    }

    explain(position, x, output) {
        const inputs = Float32Array.from(this.window(position), (index) => x[index]);
        const formula = `${this.formula(inputs)} = ${short(output)}`;
        return {weights: null, inputs, shape: [1, ...this.kernel_size], bias: 0, sum: output, formula};
    }
}

/** The maximum of each window. */
class MaxPool2d extends Pool2d {
    /** Keeps which pixel was each maximum; on a tie the first, as PyTorch does. */
    forward(x) {
        const outputs = new Float32Array(product(this.outputShape));
        this.argmax = new Int32Array(outputs.length);
        for (let position = 0; position < outputs.length; position++) {
            const indices = this.window(position);
            let best = indices[0];
            for (const index of indices) if (x[index] > x[best]) best = index;
            this.argmax[position] = best;
            outputs[position] = x[best];
        }
        return outputs;
    }

    /** The gradient goes to the pixel that was the maximum. */
    backward(gradOutput) {
        const gradient = new Float32Array(product(this.inputShape));
        this.argmax.forEach((index, position) => (gradient[index] += gradOutput[position]));
        return gradient;
    }

    formula(inputs) {
        return `max(${Array.from(inputs, short).join(", ")})`;
    }
}

/** The mean of each window. */
class AvgPool2d extends Pool2d {
    forward(x) {
        const outputs = new Float32Array(product(this.outputShape));
        return outputs.map((_, position) => {
            const indices = this.window(position);
            return indices.reduce((sum, index) => sum + x[index], 0) / indices.length;
        });
    }

    /** Each of a window's n pixels has 1/n of the gradient; where windows overlap, the sum of these. */
    backward(gradOutput) {
        const gradient = new Float64Array(product(this.inputShape));
        gradOutput.forEach((value, position) => {
            const indices = this.window(position);
            for (const index of indices) gradient[index] += value / indices.length;
        });
        return new Float32Array(gradient);
    }

    formula(inputs) {
        const sum = inputs.reduce((total, each) => total + each, 0);
        return `Σ input / ${inputs.length} = ${short(sum)} / ${inputs.length}`;
    }
}

/** y = γ x̂ + β with x̂ = (x − μ) / √(σ² + ε), per channel, with the running averages of μ and σ². */
class BatchNorm extends Module {
    constructor(description, inputShape) {
        super(description, inputShape);
        this.channelSize = product(inputShape) / this.num_features;
    }

    /** The γ, β, μ and √(σ² + ε) of the channel in which a position lies. */
    statistics(position) {
        const channel = Math.floor(position / this.channelSize);
        const std = Math.sqrt(this.running_var[channel] + this.eps);
        return {gamma: this.weight[channel], beta: this.bias[channel], mean: this.running_mean[channel], std};
    }

    forward(x) {
        return x.map((value, position) => {
            const {gamma, beta, mean, std} = this.statistics(position);
            return gamma * ((value - mean) / std) + beta;
        });
    }

    /** ∂L/∂x = γ / √(σ² + ε) · ∂L/∂y, because at inference μ and σ² are constants. */
    backward(gradOutput) {
        return gradOutput.map((value, position) => {
            const {gamma, std} = this.statistics(position);
            return (gamma / std) * value;
        });
    }

    explain(position, x, output) {
        const {gamma, beta, mean, std} = this.statistics(position), input = x[position];
        const numbers = `${short(gamma)} · (${short(input)} − ${short(mean)}) / ${short(std)} + ${short(beta)}`;
        const formula = `γ (x − μ) / √(σ² + ε) + β = ${numbers} = ${short(output)}`;
        return {...super.explain(position, x, output), bias: beta, sum: gamma * ((input - mean) / std), formula};
    }
}

class BatchNorm1d extends BatchNorm {}

class BatchNorm2d extends BatchNorm {}

/** y = f(x), number by number; the chain rule gives ∂L/∂x = f′(x) ∂L/∂y. */
class Activation extends Module {
    forward(x) {
        this.x = x;
        return x.map((value) => this.f(value));
    }

    backward(gradOutput) {
        return gradOutput.map((value, position) => value * this.derivative(this.x[position]));
    }

    explain(position, x, output) {
        const formula = `${this.type}(${short(x[position])}) = ${short(output)}`;
        return {...super.explain(position, x, output), formula};
    }
}

/** max(x, 0); the derivative is 1 where x is positive, and 0 at 0 as in PyTorch. */
class ReLU extends Activation {
    f(x) {
        return Math.max(x, 0);
    }

    derivative(x) {
        return x > 0 ? 1 : 0;
    }
}

/** x where x > 0, else negative_slope · x. */
class LeakyReLU extends Activation {
    f(x) {
        return x > 0 ? x : this.negative_slope * x;
    }

    derivative(x) {
        return x > 0 ? 1 : this.negative_slope;
    }
}

/** σ(x) = 1 / (1 + e⁻ˣ), with σ′ = σ (1 − σ). */
class Sigmoid extends Activation {
    f(x) {
        return 1 / (1 + Math.exp(-x)); // for a very negative x, 1 / Infinity = 0
    }

    derivative(x) {
        return this.f(x) * (1 - this.f(x));
    }
}

/** tanh x, with tanh′ = 1 − tanh². */
class Tanh extends Activation {
    f(x) {
        return Math.tanh(x);
    }

    derivative(x) {
        return 1 - Math.tanh(x) ** 2;
    }
}

/** x Φ(x), with Φ the standard normal CDF and φ its density; the derivative is Φ + x φ. */
class GELU extends Activation {
    cdf(x) {
        return (1 + erf(x / Math.SQRT2)) / 2;
    }

    f(x) {
        return x * this.cdf(x);
    }

    derivative(x) {
        return this.cdf(x) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);
    }
}

/** What a network's description may name: an added layer's class belongs here too. */
const LAYER_CLASSES = {
    Flatten, Dropout, Linear, Conv2d, MaxPool2d, AvgPool2d, BatchNorm1d, BatchNorm2d, ReLU, LeakyReLU, Sigmoid, Tanh, GELU,
};

/** Layers applied one after the other, from 784 pixels to the probabilities of ten classes. */
class Network {
    /** @param {{engine: string, mean: number, std: number, accuracy: ?number, layers: object[]}} description */
    constructor(description) {
        const {engine, mean, std, accuracy, layers} = description;
        Object.assign(this, {engine, mean, std, accuracy});
        let shape = [1, 28, 28];
        this.layers = layers.map((each) => {
            const layer = new LAYER_CLASSES[each.type](each, shape);
            shape = layer.outputShape;
            return layer;
        });
    }

    /**
     * Standardize the pixels as Python does, to the bit, and apply every layer.
     *
     * @param {ArrayLike<number>} pixels  784 numbers, 0 (black) to 255 (white), row by row
     * @returns {{input: Float32Array, outputs: Float32Array[], logits: Float32Array, probabilities: Float32Array}}
     *     the standardized pixels and the output of every layer; kept as this.last
     */
    forward(pixels) {
        const input = Float32Array.from(pixels, (pixel) => (pixel / 255 - this.mean) / this.std);
        const outputs = [];
        for (const layer of this.layers) outputs.push(layer.forward(outputs.at(-1) ?? input));
        const logits = outputs.at(-1);
        this.last = {input, outputs, logits, probabilities: softmax(logits)};
        return this.last;
    }

    /** d logits[label] / d standardized pixel, for the last forward pass.  @returns {Float32Array} 784 numbers */
    gradient(label) {
        const oneHot = new Float32Array(this.last.logits.length);
        oneHot[label] = 1;
        return this.layers.reduceRight((gradient, layer) => layer.backward(gradient), oneHot);
    }

    /** The input of a layer in the last forward pass.  @returns {Float32Array} */
    inputOf(index) {
        return index ? this.last.outputs[index - 1] : this.last.input;
    }

    /**
     * How one number of a layer's output came about in the last forward pass: output = sum + bias, up to rounding.
     *
     * @param {number} index  of the layer
     * @param {number} position  in its flat output
     * @returns {{weights: ?Float32Array, inputs: Float32Array, shape: number[], bias: number, sum: number,
     *     output: number, formula: string}}
     *     sum is Σ weights · inputs, both of this shape; a layer without weights has its own formula for it
     */
    unit(index, position) {
        const layer = this.layers[index], before = this.layers[index - 1];
        const output = this.last.outputs[index][position];
        const unit = {output, ...layer.explain(position, this.inputOf(index), output)};
        if (layer.type === "Linear" && before?.type === "Flatten") unit.shape = before.inputShape;
        return unit;
    }
}

/** exp(zᵢ) / Σ exp(zⱼ), with the maximum subtracted from all z, so that nothing overflows. */
function softmax(logits) {
    const max = Math.max(...logits);
    const exponentials = Array.from(logits, (logit) => Math.exp(logit - max));
    const total = exponentials.reduce((sum, each) => sum + each);
    return Float32Array.from(exponentials, (each) => each / total);
}

/** Σ aᵢ bᵢ */
function dot(a, b) {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
    return sum;
}

/** sums += factor · values */
function addScaled(sums, factor, values) {
    for (let i = 0; i < sums.length; i++) sums[i] += factor * values[i];
}

/** 2/√π e^(−x²) Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1)) (Abramowitz & Stegun 7.1.6), to the last digits of a double. */
function erf(x) {
    if (Math.abs(x) >= 6) return Math.sign(x);
    let term = x, sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
        term *= (2 * x * x) / (2 * n + 1);
        sum += term;
    }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** How many windows there are below and beside each other.  @returns {[number, number]} */
function windowCounts({inputShape, kernel_size, stride, padding = [0, 0]}) {
    return [0, 1].map((axis) => {
        const room = inputShape[axis + 1] + 2 * padding[axis] - kernel_size[axis];
        return Math.floor(room / stride[axis]) + 1;
    });
}

/**
 * Which inputs lie under the window at (row, column), in all channels or some: flat indices, and −1 in the padding.
 *
 * @returns {Int32Array} channels · kernel height · kernel width numbers
 */
function windowIndices(layer, row, column, firstChannel = 0, endChannel = layer.inputShape[0]) {
    const {inputShape: [, height, width], kernel_size: [kernelHeight, kernelWidth], stride, padding = [0, 0]} = layer;
    const top = row * stride[0] - padding[0], left = column * stride[1] - padding[1];
    const indices = new Int32Array((endChannel - firstChannel) * kernelHeight * kernelWidth);
    let i = 0;
    for (let channel = firstChannel; channel < endChannel; channel++) {
        for (let y = top; y < top + kernelHeight; y++) {
            for (let x = left; x < left + kernelWidth; x++) {
                const inside = y >= 0 && y < height && x >= 0 && x < width;
                indices[i++] = inside ? (channel * height + y) * width + x : -1;
            }
        }
    }
    return indices;
}

/** The rows of a matrix, as views.  @returns {Float32Array[]} */
function splitRows(matrix, count) {
    const size = matrix.length / count;
    return Array.from({length: count}, (_, row) => matrix.subarray(row * size, (row + 1) * size));
}

/** The indices of a flat position in an array of this shape.  @returns {number[]} */
function unravel(position, [, height, width]) {
    return [Math.floor(position / (height * width)), Math.floor(position / width) % height, position % width];
}

function product(numbers) {
    return numbers.reduce((total, each) => total * each, 1);
}

/** Network.unit of a layer whose output is a weighted sum. */
function explainSum(weights, inputs, shape, bias, output) {
    const sum = dot(weights, inputs);
    const formula = `Σ weight · input + bias = ${short(sum)} + ${short(bias)} = ${short(output)}`;
    return {weights, inputs, shape, bias, sum, formula};
}

/** A number with three significant digits.  @returns {string} */
function short(number) {
    return String(Number(number.toPrecision(3)));
}

/** Numbers that Python wrote as little-endian float32, the byte order of every browser's machine. */
function decodeFloats(base64) {
    const text = atob(base64), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new Float32Array(bytes.buffer);
}
