// A line a run, with its numbers, hyper-parameters and penalties.

import { hyperparameters, metrics, regularity } from "./compare_axes.js";
import { CutName } from "./cut_name.js";
import { element, setText } from "./dom.js";
import { sort } from "./lines.js";
import { count } from "./numbers.js";
import { Sorting } from "./sorting.js";
import { LineTable } from "./table.js";

export class RunTable {
  constructor(onOpen) {
    this.onOpen = onOpen;
    this.sorting = new Sorting("compare.sort", () => this.arrange());
    this.table = new LineTable("The runs, each at its last point", ({ name }) => name);
    this.table.node.classList.add("runs");
    this.node = this.table.node;
  }

  // `all` have the columns, `runs` the lines; `best` are the names of those on the frontier.
  update(all, names, runs, best) {
    [this.runs, this.best] = [runs, best];
    const columns = this.columnsOf(all, names);
    const words = JSON.stringify(columns.map(({ id, className }) => [id, className]));
    if (words !== this.words) this.table.setColumns(columns, this.sorting.rows(columns));
    [this.words, this.columns] = [words, columns];
    this.arrange();
  }

  arrange() {
    const column = this.sorting.columnOf(this.columns);
    const order = column && { descending: this.sorting.chosen.descending };
    this.table.setLines(sort(this.runs, order, column?.key));
    this.node.hidden = this.runs.length === 0;
  }

  columnsOf(runs, names) {
    const onFrontier = ({ name }) => (this.best.has(name) ? "✓" : "");
    const words = ({ penalties }) => penalties.map(([penalty]) => penalty).join("; ");
    return [
      { id: "run", label: "Run", className: "name", key: ({ name }) => name, cell: this.nameCell() },
      column("frontier", "Frontier", "mark", onFrontier),
      column("step", "Step", "number", ({ step }) => step, count),
      ...[...regularity(runs), ...metrics(names).metrics].map(({ id, label, point, format }) =>
        column(id, label, numberClass(label), (run) => point(run)?.[1], format),
      ),
      ...hyperparameters(runs).map(({ id, label, value, numeric, format }) =>
        column(id, label, numeric ? numberClass(label) : "chosen", value, format),
      ),
      column("penalties", "Penalties", "penalty", words),
    ];
  }

  // A button that opens the run.
  nameCell() {
    return (node) => {
      const name = new CutName();
      const button = element("button", { type: "button" }, [name.node]);
      let shown;
      button.addEventListener("click", () => this.onOpen(shown));
      node.append(button);
      return (run) => name.set((shown = run.name));
    };
  }
}

const numberClass = (label) => (label.length > 14 ? "number wide" : "number");

function column(id, label, className, key, format = String) {
  const text = (run) => (key(run) === undefined ? "" : format(key(run)));
  const cell = (node) => (run) => {
    setText(node, text(run));
    node.title = className.startsWith("number") ? "" : text(run);
  };
  return { id, label, className, key, cell };
}
