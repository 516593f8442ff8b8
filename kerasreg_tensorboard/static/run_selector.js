// The run on show: the newest at first, then the one that was chosen, also after a reload.

import { element } from "./dom.js";

const KEY = "kerasreg_sparsity.run";

export class RunSelector {
  constructor(onChange) {
    this.select = element("select", { id: "run", disabled: true });
    this.select.addEventListener("change", () => {
      remember(this.select.value);
      onChange();
    });
    const label = element("label", { htmlFor: "run", textContent: "Run" });
    this.node = element("div", { className: "run" }, [label, this.select]);
    this.remembered = recall();
  }

  get wanted() {
    return this.select.options.length ? this.select.value : this.remembered;
  }

  update(runs, run) {
    const shown = [...this.select.options].map((option) => option.value);
    if (JSON.stringify(shown) !== JSON.stringify(runs)) {
      const options = runs.map((name) => element("option", { value: name, textContent: name }));
      this.select.replaceChildren(...options);
      this.select.disabled = runs.length === 0;
    }
    this.select.value = run;
  }
}

// A browser may forbid storage to a frame, as in some notebooks.
function remember(run) {
  try {
    sessionStorage.setItem(KEY, run);
  } catch {
    // The choice holds until the page is left.
  }
}

function recall() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}
