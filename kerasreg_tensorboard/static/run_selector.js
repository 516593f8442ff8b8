// The run on show: the newest at first, then the one that was chosen, also after a reload.

import { element } from "./dom.js";
import { recall, remember } from "./storage.js";

export class RunSelector {
  constructor(onChange) {
    this.select = element("select", { id: "run", disabled: true });
    this.select.addEventListener("change", () => {
      this.choose(this.select.value);
      onChange();
    });
    const label = element("label", { htmlFor: "run", textContent: "Run" });
    this.node = element("div", { className: "run" }, [label, this.select]);
    this.wanted = recall("run", null);
  }

  choose(run) {
    this.wanted = run;
    remember("run", run);
  }

  update(runs, run) {
    const shown = [...this.select.options].map((option) => option.value);
    if (JSON.stringify(shown) !== JSON.stringify(runs)) {
      const options = runs.map((name) => element("option", { value: name, textContent: name }));
      this.select.replaceChildren(...options);
      this.select.disabled = runs.length === 0;
    }
    this.wanted = this.select.value = run;
  }
}
