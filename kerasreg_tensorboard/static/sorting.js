// The order of the rows, and the buttons in the header that choose it.

import { element } from "./dom.js";

export class Sorting {
  constructor(columns, onChange) {
    this.column = null; // the model's own order
    this.descending = false;
    this.onChange = onChange;
    this.headers = columns.map((column) => [column, this.header(column)]);
  }

  get nodes() {
    return this.headers.map(([, node]) => node);
  }

  header(column) {
    const button = element("button", { type: "button", textContent: column.label });
    button.addEventListener("click", () => this.choose(column));
    const node = element("th", { scope: "col", className: column.className }, [button]);
    node.setAttribute("aria-sort", "none");
    return node;
  }

  // Down, up, and back to the order of the model.
  choose(column) {
    if (this.column !== column) [this.column, this.descending] = [column, true];
    else if (this.descending) this.descending = false;
    else this.column = null;
    for (const [each, node] of this.headers) {
      const direction = this.descending ? "descending" : "ascending";
      node.setAttribute("aria-sort", each === this.column ? direction : "none");
    }
    this.onChange();
  }

  sort(weights) {
    if (this.column === null) return weights;
    const sign = this.descending ? -1 : 1;
    const { key } = this.column;
    return [...weights].sort((a, b) => compare(key(a), key(b), sign));
  }
}

// What is missing comes last in both directions.
function compare(a, b, sign) {
  if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b);
  if (typeof a === "string") return sign * a.localeCompare(b, "en", { numeric: true });
  return sign * (a - b || 0); // two infinities are equal
}

const isMissing = (key) => key === undefined || key === "" || Number.isNaN(key);
