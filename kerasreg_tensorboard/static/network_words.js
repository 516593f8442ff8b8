// What the picture of the network says in words.

import { count, percent } from "./numbers.js";

// A weight may belong to the model itself.
export const nameOf = ({ name }) => name || "(the model itself)";

export const countOf = ({ counted, word }, { alive }) =>
  alive === null ? "" : `${count(alive)} of ${count(counted)} ${word} alive`;

export function summaryOf(layer, numbers) {
  const { alive, zeros } = numbers;
  return [
    nameOf(layer),
    alive === null ? "no numbers yet" : countOf(layer, numbers),
    ...(zeros === null ? [] : [`${percent(zeros)} of the weights are zero`]),
  ].join(", ");
}

// A line for the layer, and one for each of its kernels.
export function detailsOf(layer, numbers) {
  const dropout = layer.dropout ? `, dropout: ${layer.dropout}` : "";
  const kernels = layer.kernels.map((kernel, i) => {
    const [dead, zeros] = numbers.kernels[i];
    return [
      `${kernel.name}, ${kernel.shape.join(" × ")}`,
      ...(dead === null ? [] : [`${count(dead)} of ${count(kernel.counted)} ${kernel.word} dead`]),
      ...(zeros === null ? [] : [`${percent(zeros)} zeros`]),
      kernel.penalty || "no penalty",
    ].join(", ");
  });
  return [summaryOf(layer, numbers) + dropout, ...kernels];
}

export function statementOf(layers, squareRoot) {
  const size = squareRoot ? "the square root of the number of its units" : "the number of its units";
  return (
    `${count(layers.length)} ${layers.length === 1 ? "layer" : "layers"}, the input at the top. ` +
    `A bar is as wide as ${size}, and filled as far as these are alive; ` +
    "the line below it, as far as weights are not zero."
  );
}
