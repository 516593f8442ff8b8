// A single run: its numbers, and the table of its weights.

import { element } from "./dom.js";
import { RunSelector } from "./run_selector.js";
import { ask } from "./server.js";
import { Summary } from "./summary.js";
import { WeightTable } from "./table.js";

const NO_RUN = "No run here was logged by kerasreg.RegularizationLogger.";
const NO_POINTS =
  "No points yet. The first comes when an epoch ends, or after update_freq training batches.";

export class RunView {
  constructor(refresh) {
    this.runs = new RunSelector(refresh);
    this.summary = new Summary();
    this.table = new WeightTable();
    this.hint = element("p", { className: "hint", textContent: "Loading …" });
    const header = element("header", {}, [this.runs.node, this.summary.node]);
    this.node = element("div", {}, [header, this.hint, this.table.node]);
  }

  // Shows a run from the next `load` on.
  open(run) {
    this.runs.choose(run);
  }

  async load() {
    const wanted = this.runs.wanted;
    const reply = await ask("table", { run: wanted });
    // While it was on its way, another run may have been chosen.
    if (this.runs.wanted !== wanted) return;
    this.runs.update(reply.runs, reply.run);
    this.summary.update(reply);
    this.table.update(reply.weights);
    const hasPoints = Object.keys(reply.totals).length > 0;
    this.hint.textContent = reply.run === null ? NO_RUN : hasPoints ? "" : NO_POINTS;
  }
}
