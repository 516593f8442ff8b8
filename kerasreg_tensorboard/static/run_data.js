// What is known of one run. The weights come once, a number of all of them where the table has to
// be ordered by it, and histories only for rows in view.

import { ask } from "./server.js";

export class RunData {
  constructor() {
    this.clear();
  }

  clear() {
    this.run = null;
    this.version = null;
    this.weights = [];
    this.totals = {};
    this.steps = [];
    this.columns = {};
    this.rows = new Map(); // by a weight's number
    this.stamp = 0; // of what is shown; rows of an older one have to be asked for again
  }

  // What the server says of a run at a step, null for the latest of both.
  ask(run, step) {
    const known = run !== null && run === this.run ? this.version : null;
    return ask("table", { run, step, known });
  }

  take(reply, step) {
    const isNew = reply.run !== this.run || reply.version !== this.version;
    if (isNew) {
      this.clear();
      this.weights = weightsOf(reply.weights);
    }
    Object.assign(this, reply, { weights: this.weights, step });
    this.stamp += 1;
  }

  async loadColumns(metrics) {
    if (!metrics.length || !this.weights.length) return;
    const { run, step, version } = this;
    const columns = await ask("columns", { run, step, metric: metrics });
    if (this.run === run && this.version === version) this.columns = numeric(columns);
  }

  has(metrics) {
    return this.weights.length === 0 || metrics.every((metric) => metric in this.columns);
  }

  // Asks for those of the rows that are not known as they are now.
  async loadRows(numbers, metrics) {
    const { run, step, version, stamp } = this;
    const key = `${stamp} ${metrics}`;
    const weight = numbers.filter((number) => this.rows.get(number)?.key !== key);
    if (!weight.length) return;
    const rows = await ask("rows", { run, step, metric: metrics, weight });
    if (this.run !== run || this.version !== version) return;
    weight.forEach((number, i) => this.rows.set(number, { ...rows[i], key }));
  }

  value(metric, weight) {
    const column = this.columns[metric];
    return column ? column[weight.number] : this.rows.get(weight.number)?.cells[metric]?.value;
  }
}

// The server has a list for each field.
function weightsOf(fields) {
  const entries = Object.entries(fields ?? {});
  const names = fields?.name ?? [];
  return names.map((_, number) => ({
    number,
    ...Object.fromEntries(entries.map(([field, values]) => [field, values[number]])),
  }));
}

// A weight without a number has undefined.
const numeric = (columns) =>
  Object.fromEntries(
    Object.entries(columns).map(([metric, values]) => [
      metric,
      values.map((value) => (value === null ? undefined : Number(value))),
    ]),
  );
