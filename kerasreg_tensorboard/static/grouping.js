// Whether weights are grouped by their layers, and which groups are folded.

import { element } from "./dom.js";
import { recall, remember } from "./storage.js";

export class Grouping {
  constructor(onChange) {
    this.onChange = onChange;
    this.folded = new Set();
    this.names = [];
    this.box = element("input", { type: "checkbox" });
    this.box.checked = recall("grouped", false);
    this.box.addEventListener("change", () => {
      remember("grouped", this.box.checked);
      this.show();
      onChange();
    });
    const label = element("label", {}, [this.box, " Group by layer"]);
    this.fold = element("button", { type: "button", textContent: "Fold all" });
    this.unfold = element("button", { type: "button", textContent: "Unfold all" });
    this.fold.addEventListener("click", () => this.set(this.names));
    this.unfold.addEventListener("click", () => this.set([]));
    this.node = element("div", { className: "grouping" }, [label, this.fold, this.unfold]);
    this.show();
  }

  get grouped() {
    return this.box.checked;
  }

  show() {
    this.fold.hidden = this.unfold.hidden = !this.grouped;
  }

  set(names) {
    this.folded = new Set(names);
    this.onChange();
  }

  toggle(name) {
    if (!this.folded.delete(name)) this.folded.add(name);
    this.onChange();
  }
}
