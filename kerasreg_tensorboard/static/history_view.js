// A number and its sparkline.

import { element, setText } from "./dom.js";
import { lastValue } from "./numbers.js";
import { Sparkline } from "./sparkline.js";

export class HistoryView {
  constructor() {
    this.value = element("span", { className: "value" });
    this.sparkline = new Sparkline();
    this.nodes = [this.value, this.sparkline.node];
  }

  // Empty where there is no history, as for the penalty of a weight without one.
  update(history = [], format, top) {
    setText(this.value, history.length ? format(lastValue(history)) : "");
    this.sparkline.update(history, top);
  }
}
