// The numbers of all weights together, above the table.

import { element, setText } from "./dom.js";
import { HistoryView } from "./history_view.js";
import { count, percent, short } from "./numbers.js";

const COMPACTED = [
  ["parameters", "Parameters after compaction"],
  ["multiply_adds", "Multiply-adds after compaction"],
];

export class Summary {
  constructor() {
    this.sparsity = new HistoryView();
    this.deadUnits = new HistoryView();
    this.deadGroups = new HistoryView();
    this.groups = item("Dead groups", this.deadGroups.nodes);
    this.penalty = new HistoryView();
    this.parameters = element("span", { className: "value" });
    this.compaction = COMPACTED.map(([, label]) => new Compacted(label));
    this.step = element("span", { className: "value" });
    this.node = element("dl", { className: "summary" }, [
      item("Sparsity", this.sparsity.nodes),
      item("Dead units", this.deadUnits.nodes),
      this.groups,
      item("Penalty", this.penalty.nodes),
      item("Parameters", [this.parameters]),
      ...this.compaction.map((each) => each.node),
      item("Step", [this.step]),
    ]);
  }

  // Of a run at a step, null for the latest.
  update({ weights, groups, totals, compaction, steps, step }) {
    const units = total(weights, "units");
    const dead = (number) => (n) => `${count(n)} of ${count(number)}`;
    this.sparsity.update(totals.sparsity, percent, 1, step);
    this.deadUnits.update(totals.dead_units, dead(units), units, step);
    // Of penalties whose groups span several weights.
    this.groups.hidden = !groups;
    this.deadGroups.update(totals.dead_groups, dead(groups), groups, step);
    this.penalty.update(totals.regularization_loss, short, undefined, step);
    setText(this.parameters, weights.length ? count(total(weights, "size")) : "");
    COMPACTED.forEach(([name], i) => this.compaction[i].update(compaction[name]));
    const shown = step ?? steps.at(-1);
    setText(this.step, shown === undefined ? "" : count(shown));
  }
}

// Known when the training has ended, of models that can be compacted.
class Compacted {
  constructor(label) {
    this.value = element("span", { className: "value" });
    this.node = item(label, [this.value]);
    this.update();
  }

  update(sizes) {
    this.node.hidden = !sizes;
    setText(this.value, sizes ? `${count(sizes[1])} of ${count(sizes[0])}` : "");
  }
}

const total = (weights, name) => weights.reduce((sum, weight) => sum + weight[name], 0);

const item = (label, nodes) =>
  element("div", {}, [
    element("dt", { textContent: label }),
    element("dd", {}, nodes),
  ]);
