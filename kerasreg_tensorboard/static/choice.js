// One of several, by a label: a select whose choice is kept over a reload.

import { element } from "./dom.js";
import { recall, remember } from "./storage.js";

export class Choice {
  constructor(id, label, otherwise, onChange) {
    this.id = id;
    this.value = recall(id, otherwise);
    this.select = element("select", { id, disabled: true });
    this.select.addEventListener("change", () => {
      this.choose(this.select.value);
      onChange();
    });
    const title = element("label", { htmlFor: id, textContent: label });
    this.node = element("div", { className: "field" }, [title, this.select]);
  }

  choose(value) {
    this.value = value;
    remember(this.id, value);
  }

  // `[value, text]` of each option. One that was chosen and is no more gives way to the first.
  offer(options) {
    const shown = JSON.stringify(options);
    if (shown !== this.shown) {
      const nodes = options.map(([value, text]) => element("option", { value, textContent: text }));
      this.select.replaceChildren(...nodes);
      this.shown = shown;
    }
    this.select.disabled = options.length === 0;
    if (!options.some(([value]) => value === this.value)) this.value = options[0]?.[0] ?? null;
    this.select.value = this.value;
  }
}
