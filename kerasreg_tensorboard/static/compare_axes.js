// What the axes of the chart can be: how a number is read from a run, its words, and which way is
// better.

import { count, percent, short } from "./numbers.js";

// Numbers of the log that are neither metrics nor losses.
const OTHERS = new Set([
  "sparsity",
  "near_zero",
  "dead_units",
  "dead_groups",
  "l1_norm",
  "l2_norm",
  "max_abs",
  "regularization_loss",
  "compacted_parameters",
  "compacted_multiply_adds",
  "strength_scale",
  "learning_rate",
  "held",
  "optimality_residual",
  "activation_zeros",
  "dead_activations",
]);

// Words in the names of metrics, Keras's and common ones, by which more is better. A name with one
// of the others is an error or a loss after all.
const HIGHER =
  /(^|_)(acc|accuracy|auc|roc|prc|precision|recall|sensitivity|specificity|f\d|fbeta|score|iou|io_u|dice|r2|similarity|correlation|map|ndcg|mrr|bleu|psnr|ssim|true)(_|$)/i;
const LOWER = /(^|_)(loss|error|entropy|divergence|brier|false|perplexity)(_|$)/i;

export const guessedBetter = (name) => (HIGHER.test(name) && !LOWER.test(name) ? "higher" : "lower");

const total = (name) => (run) => run.points.get(name);

const derived = (name, f) => (run) => {
  const point = run.points.get(name);
  return point && [point[0], f(run, point[1])];
};

const SPARSITY = {
  id: "sparsity",
  label: "Sparsity",
  point: total("sparsity"),
  format: percent,
  better: "higher",
  whole: [0, 1],
};

const KEPT = [
  SPARSITY,
  {
    id: "weights_left",
    label: "Weights left",
    point: derived("sparsity", (run, sparsity) => Math.round(run.parameters * (1 - sparsity))),
    format: count,
    better: "lower",
    log: true,
  },
  {
    id: "compacted_parameters",
    label: "Parameters after compaction",
    point: total("compacted_parameters"),
    format: count,
    better: "lower",
    log: true,
  },
  {
    id: "penalty",
    label: "Penalty",
    point: total("regularization_loss"),
    format: short,
    better: "lower",
  },
  {
    id: "strength",
    label: "Strength",
    point: (run) => run.strength ?? undefined,
    format: short,
    better: "higher",
    log: true,
  },
];

// Those of `KEPT` that any run has.
export const regularity = (runs) => KEPT.filter(({ point }) => runs.some(point));

// The hyper-parameters that are numbers, in the order of their names.
export function hyperparameters(runs) {
  const names = new Set(runs.flatMap(({ hparams }) => Object.keys(hparams)));
  return [...names].sort().map((name) => ({
    id: `hparam ${name}`,
    label: name,
    value: ({ hparams }) => hparams[name],
    point: ({ hparams }) => pointOf(hparams[name]),
    numeric: runs.some(({ hparams }) => typeof hparams[name] === "number"),
    format: (value) => (typeof value === "number" ? short(value) : String(value)),
    better: "neither",
    log: spansDecades(runs.map(({ hparams }) => hparams[name])),
  }));
}

const pointOf = (value) => (typeof value === "number" ? [undefined, value] : undefined);

function spansDecades(values) {
  const numbers = values.filter((value) => typeof value === "number");
  return numbers.every((value) => value > 0) && Math.max(...numbers) > 50 * Math.min(...numbers);
}

// The metrics and losses of the log, those of the validation first, and its other numbers.
export function metrics(names) {
  const make = (name) => ({
    id: name,
    label: name,
    point: total(name),
    format: short,
    better: guessedBetter(name),
  });
  const chosen = names.filter((name) => !OTHERS.has(name));
  const isValidation = (name) => name.startsWith("val_");
  return {
    metrics: [...chosen.filter(isValidation), ...chosen.filter((n) => !isValidation(n))].map(make),
    others: names.filter((name) => OTHERS.has(name)).map(make),
  };
}

// The accuracy of the validation if there is one, else its loss.
export function preferred(axes) {
  const order = [/^val_(.*_)?acc(uracy)?$/, /^val_data_loss$/, /^data_loss$/, /^val_/, /./];
  const found = order.map((pattern) => axes.find(({ id }) => pattern.test(id)));
  return found.find((axis) => axis !== undefined);
}
