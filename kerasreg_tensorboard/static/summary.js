// The numbers of all weights together, above the table.

import { element, setText } from "./dom.js";
import { HistoryView } from "./history_view.js";
import { count, percent, short } from "./numbers.js";

export class Summary {
  constructor() {
    this.sparsity = new HistoryView();
    this.deadUnits = new HistoryView();
    this.penalty = new HistoryView();
    this.parameters = element("span", { className: "value" });
    this.step = element("span", { className: "value" });
    this.node = element("dl", { className: "summary" }, [
      item("Sparsity", this.sparsity.nodes),
      item("Dead units", this.deadUnits.nodes),
      item("Penalty", this.penalty.nodes),
      item("Parameters", [this.parameters]),
      item("Step", [this.step]),
    ]);
  }

  update({ weights, totals }) {
    const units = total(weights, "units");
    this.sparsity.update(totals.sparsity, percent, 1);
    this.deadUnits.update(totals.dead_units, (n) => `${count(n)} of ${count(units)}`, units);
    this.penalty.update(totals.regularization_loss, short);
    setText(this.parameters, weights.length ? count(total(weights, "size")) : "");
    const last = totals.sparsity?.at(-1);
    setText(this.step, last ? count(last[0]) : "");
  }
}

const total = (weights, name) => weights.reduce((sum, weight) => sum + weight[name], 0);

const item = (label, nodes) =>
  element("div", {}, [
    element("dt", { textContent: label }),
    element("dd", {}, nodes),
  ]);
