// The order of the lines, and the buttons in the header that choose it.

import { CutName } from "./cut_name.js";
import { element } from "./dom.js";
import { recall, remember } from "./storage.js";

export class Sorting {
  // The choice is kept under a name.
  constructor(name, onChange) {
    this.name = name;
    this.chosen = recall(name, null); // `{id, descending}`; null is the order as it comes
    this.onChange = onChange;
    this.headers = [];
  }

  // The rows of the header: a heading above columns that belong together has a row of its own.
  rows(columns) {
    this.headers = columns.map((column) => [column, this.header(column)]);
    if (columns.every(({ heading }) => !heading)) return [this.headers.map(([, node]) => node)];
    const top = [];
    for (const [{ heading, className }, node] of this.headers) {
      if (!heading) {
        node.rowSpan = 2;
        top.push(node);
      } else if (top.at(-1)?.heading === heading) {
        top.at(-1).colSpan += 1;
      } else {
        const above = element("th", { className, scope: "colgroup", textContent: heading });
        top.push(Object.assign(above, { heading }));
      }
    }
    return [top, this.headers.filter(([column]) => column.heading).map(([, node]) => node)];
  }

  header(column) {
    const label = new CutName();
    label.set(column.label);
    const button = element("button", { type: "button" }, [label.node]);
    if (column.heading) button.ariaLabel = `${column.heading}, ${column.label}`;
    button.addEventListener("click", () => this.choose(column));
    const node = element("th", { scope: "col", className: column.className }, [button]);
    node.ariaSort = this.directionOf(column);
    return node;
  }

  // Down, up, and back to the order of the model.
  choose({ id }) {
    if (this.chosen?.id !== id) this.chosen = { id, descending: true };
    else if (this.chosen.descending) this.chosen = { id, descending: false };
    else this.chosen = null;
    remember(this.name, this.chosen);
    for (const [column, node] of this.headers) node.ariaSort = this.directionOf(column);
    this.onChange();
  }

  directionOf({ id }) {
    if (this.chosen?.id !== id) return "none";
    return this.chosen.descending ? "descending" : "ascending";
  }

  // The column that is sorted by, if it is one of those.
  columnOf(columns) {
    return columns.find(({ id }) => id === this.chosen?.id);
  }
}
