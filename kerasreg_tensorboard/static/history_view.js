// A number and its sparkline.

import { element, setText } from "./dom.js";
import { Sparkline } from "./sparkline.js";

export class HistoryView {
  constructor() {
    this.value = element("span", { className: "value" });
    this.sparkline = new Sparkline();
    this.nodes = [this.sparkline.node, this.value];
  }

  // What `format` makes of a `{value, series}`; empty where there is none, as for the penalty of a
  // weight without one.
  update(cell, format, top, step) {
    this.show(cell ? format(Number(cell.value)) : "", cell?.series ?? [], top, step);
  }

  // `step` is the one that is marked, null for the last.
  show(words, series, top, step = null) {
    setText(this.value, words);
    this.sparkline.update(series, top, step);
  }
}
