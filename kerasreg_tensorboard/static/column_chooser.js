// Which numbers have a column, kept for the next visits too.

import { element } from "./dom.js";
import { METRICS, USUAL } from "./metrics.js";
import { recallAlways, rememberAlways } from "./storage.js";

export class ColumnChooser {
  constructor(onChange) {
    this.boxes = METRICS.map(({ id, label }) => {
      const box = element("input", { type: "checkbox", value: id });
      box.checked = recallAlways("columns", USUAL).includes(id);
      box.addEventListener("change", () => {
        rememberAlways("columns", this.chosen);
        onChange();
      });
      return [box, element("label", {}, [box, ` ${label}`])];
    });
    const legend = element("legend", { textContent: "Columns of the table" });
    const nodes = this.boxes.map(([, label]) => label);
    this.node = element("details", { className: "columns" }, [
      element("summary", { textContent: "Columns" }),
      element("fieldset", {}, [legend, ...nodes]),
    ]);
    this.node.addEventListener("keydown", ({ key }) => {
      if (key !== "Escape" || !this.node.open) return;
      this.node.open = false;
      this.node.firstChild.focus();
    });
  }

  get chosen() {
    return this.boxes.filter(([box]) => box.checked).map(([box]) => box.value);
  }
}
