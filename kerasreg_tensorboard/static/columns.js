// The table's columns: what a cell shows, and what the rows are sorted by.

import { element, setText } from "./dom.js";
import { HistoryView } from "./history_view.js";
import { count, lastValue, percent, short } from "./numbers.js";

const text = (label, className, read, key = read) => ({
  label,
  className,
  key,
  cell: (node) => (weight) => setText(node, read(weight)),
});

const name = {
  label: "Weight",
  className: "name",
  key: (weight) => weight.name,
  cell: (node) => {
    const [layer, variable] = [element("span"), element("span", { className: "variable" })];
    node.append(layer, variable);
    return (weight) => {
      const split = weight.name.lastIndexOf("/") + 1;
      setText(layer, weight.name.slice(0, split));
      setText(variable, weight.name.slice(split));
      node.title = weight.path;
    };
  },
};

const history = (label, series, format, top = () => undefined) => ({
  label,
  className: "history",
  key: (weight) => lastValue(series(weight)),
  cell: (node) => {
    const view = new HistoryView();
    node.append(...view.nodes);
    return (weight) =>
      view.update(series(weight), (value) => format(value, weight), top(weight));
  },
});

const of = (metric) => (weight) => weight.series[metric];

// Output units, or the parts that the weight's penalty zeroes as a whole.
const dead = (value, { parts, part, units }) =>
  parts ? `${count(value)} of ${count(parts)} ${part}` : `${count(value)} of ${count(units)}`;

export const COLUMNS = [
  name,
  text("Shape", "shape", (weight) => weight.shape.join(" × "), (weight) => weight.size),
  history("Sparsity", of("sparsity"), percent, () => 1),
  history(
    "Dead units",
    ({ series }) => series.dead_parts ?? series.dead_units,
    dead,
    ({ parts, units }) => parts || units,
  ),
  history("Penalty share", of("penalty_share"), percent, () => 1),
  history("Strength", of("strength"), short),
  text("Penalty", "penalty", (weight) => weight.penalty),
];
