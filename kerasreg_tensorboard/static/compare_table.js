// A row a run, with its numbers, hyper-parameters and penalties.

import { hyperparameters, metrics, regularity } from "./compare_axes.js";
import { element, setText } from "./dom.js";
import { count } from "./numbers.js";
import { Sorting } from "./sorting.js";

export class RunTable {
  constructor(onOpen) {
    this.onOpen = onOpen;
    this.rows = new Map();
    this.head = element("tr");
    this.body = element("tbody");
    this.node = element("table", { className: "runs" }, [
      element("caption", { textContent: "The runs, each at its last point" }),
      element("thead", {}, [this.head]),
      this.body,
    ]);
  }

  // `all` have the columns, `runs` the rows; `best` are the names of those on the frontier.
  update(all, names, runs, best) {
    this.best = best;
    this.runs = runs;
    this.setColumns(all, names);
    this.arrange();
  }

  setColumns(all, names) {
    const columns = columnsOf(all, names, (run) => this.best.has(run.name));
    const words = JSON.stringify(columns.map(({ label }) => label));
    if (words === this.words) return;
    const before = this.sorting;
    [this.words, this.columns, this.rows] = [words, columns, new Map()];
    this.sorting = new Sorting(columns, () => this.arrange());
    this.head.replaceChildren(...this.sorting.nodes);
    const sorted = before?.column && columns.find(({ label }) => label === before.column.label);
    if (sorted) this.sorting.choose(sorted);
    if (sorted && !before.descending) this.sorting.choose(sorted);
  }

  arrange() {
    const rows = this.sorting.sort(this.runs).map((run) => this.row(run));
    const shown = this.body.children;
    const same = rows.length === shown.length && rows.every((row, i) => row === shown[i]);
    if (!same) this.body.replaceChildren(...rows);
    this.node.hidden = rows.length === 0;
  }

  row(run) {
    if (!this.rows.has(run.name)) this.rows.set(run.name, this.makeRow());
    const [node, fillers] = this.rows.get(run.name);
    for (const fill of fillers) fill(run);
    return node;
  }

  makeRow() {
    const open = element("button", { type: "button" });
    const name = element("th", { scope: "row", className: "name" }, [open]);
    let shown;
    open.addEventListener("click", () => this.onOpen(shown.name));
    const cells = this.columns.slice(1).map((column) => {
      const cell = element("td", { className: column.className });
      return [cell, (run) => setText(cell, column.text(run))];
    });
    const fillName = (run) => setText(open, (shown = run).name);
    const row = element("tr", {}, [name, ...cells.map(([cell]) => cell)]);
    return [row, [fillName, ...cells.map(([, fill]) => fill)]];
  }
}

function columnsOf(runs, names, isBest) {
  const number = ({ label, point, format }) => ({
    label,
    className: "number",
    key: (run) => point(run)?.[1],
    text: (run) => (point(run) ? format(point(run)[1]) : ""),
  });
  const hparam = ({ label, value, format, numeric }) => ({
    label,
    className: numeric ? "number" : "text",
    key: value,
    text: (run) => (value(run) === undefined ? "" : format(value(run))),
  });
  const words = ({ penalties }) => penalties.map(([penalty]) => penalty).join("; ");
  return [
    { label: "Run", className: "name", key: (run) => run.name },
    { label: "Frontier", className: "mark", key: (run) => (isBest(run) ? "✓" : ""), text: (run) => (isBest(run) ? "✓" : "") },
    { label: "Step", className: "number", key: (run) => run.step, text: (run) => count(run.step) },
    ...regularity(runs).map(number),
    ...metrics(names).metrics.map(number),
    ...hyperparameters(runs).map(hparam),
    { label: "Penalties", className: "penalty", key: words, text: words },
  ];
}
