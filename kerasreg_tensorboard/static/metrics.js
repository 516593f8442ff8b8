// The numbers of a weight that a column can show, and what they come to for a group of weights.

import { count, percent, short } from "./numbers.js";

const one = () => 1;
const none = () => undefined;
const sum = (values) => values.reduce((total, value) => total + value, 0);
const bySize = (values, weights) =>
  sum(values.map((value, i) => value * weights[i].size)) / sum(weights.map(({ size }) => size));

// Output units, or the parts that the weight's penalty zeroes as a whole.
const deadOf = ({ parts, part, units }) =>
  parts ? ` of ${count(parts)} ${part}` : ` of ${count(units)}`;

// `of` is the number that a group adds up, where that is not the weight's own; `total` is undefined
// where there is no such thing as a total. `top` is the upper edge of a sparkline.
const metric = (id, label, format, { top = none, total, of = id, whole = () => "" } = {}) => ({
  id,
  label,
  format,
  top,
  total,
  of,
  whole,
});

export const METRICS = [
  metric("sparsity", "Sparsity", percent, { top: one, total: bySize }),
  metric("near_zero", "Near zero", percent, { top: one, total: bySize }),
  metric("dead", "Dead units", count, {
    top: ({ parts, units }) => parts || units,
    total: sum,
    of: "dead_units",
    whole: deadOf,
  }),
  metric("penalty_share", "Penalty share", percent, { top: one, total: sum }),
  metric("regularization_loss", "Penalty value", short, { total: sum }),
  metric("strength", "Strength", short),
  metric("l1_norm", "L1 norm", short, { total: sum }),
  metric("l2_norm", "L2 norm", short, { total: (values) => Math.hypot(...values) }),
  metric("max_abs", "Largest", short, { total: (values) => Math.max(...values) }),
  metric("optimality_residual", "Residual", short, { total: (values) => Math.hypot(...values) }),
  metric("dropout_rate", "Dropout", percent, { top: one }),
];

// A column chosen at first: what the log of any training has.
export const USUAL = ["sparsity", "dead", "penalty_share", "strength"];
