// One row for each weight. Rows are made once and then filled, so that nothing under the reader's
// eyes is lost when new numbers come.

import { COLUMNS } from "./columns.js";
import { element } from "./dom.js";
import { Sorting } from "./sorting.js";

export class WeightTable {
  constructor() {
    this.weights = [];
    this.rows = new Map();
    this.sorting = new Sorting(COLUMNS, () => this.arrange());
    this.body = element("tbody");
    this.node = element("table", {}, [
      element("caption", { textContent: "The weights of the run" }),
      element("thead", {}, [element("tr", {}, this.sorting.nodes)]),
      this.body,
    ]);
  }

  update(weights) {
    this.weights = weights;
    this.node.hidden = weights.length === 0;
    const rows = new Map();
    for (const weight of weights) {
      const row = this.rows.get(weight.name) ?? new Row();
      row.update(weight);
      rows.set(weight.name, row);
    }
    this.rows = rows;
    this.arrange();
  }

  arrange() {
    const sorted = this.sorting.sort(this.weights);
    const nodes = sorted.map((weight) => this.rows.get(weight.name).node);
    const shown = this.body.children;
    const same = nodes.length === shown.length && nodes.every((node, i) => node === shown[i]);
    if (!same) this.body.replaceChildren(...nodes);
  }
}

class Row {
  constructor() {
    const cells = COLUMNS.map((column, i) => {
      const cell = element(i === 0 ? "th" : "td", { className: column.className });
      if (i === 0) cell.scope = "row";
      return [cell, column.cell(cell)];
    });
    this.node = element("tr", {}, cells.map(([cell]) => cell));
    this.fillers = cells.map(([, fill]) => fill);
  }

  update(weight) {
    for (const fill of this.fillers) fill(weight);
  }
}
