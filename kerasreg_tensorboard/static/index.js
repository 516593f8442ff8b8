// The Sparsity tab: TensorBoard imports this module into a frame of its own and calls `render`.

import { element } from "./dom.js";
import { keepFresh } from "./refresh.js";
import { RunSelector } from "./run_selector.js";
import { Summary } from "./summary.js";
import { WeightTable } from "./table.js";
import { followDarkMode } from "./theme.js";

const here = (name) => new URL(name, import.meta.url);

const NO_RUN = "No run here was logged by kerasreg.RegularizationLogger.";
const NO_POINTS =
  "No points yet. The first comes when an epoch ends, or after update_freq training batches.";
const NO_ANSWER = "TensorBoard does not answer. The numbers below are the last that it gave.";

export function render() {
  followDarkMode();
  document.documentElement.lang = "en";
  document.head.append(element("link", { rel: "stylesheet", href: here("style.css").href }));
  const runs = new RunSelector(() => refresh());
  const summary = new Summary();
  const table = new WeightTable();
  const hint = element("p", { className: "hint", textContent: "Loading …" });
  const status = element("p", { className: "status" });
  status.setAttribute("role", "status");
  const header = element("header", {}, [runs.node, summary.node]);
  document.body.append(element("main", {}, [header, status, hint, table.node]));

  async function load() {
    const wanted = runs.wanted;
    const reply = await ask(wanted);
    status.textContent = reply ? "" : NO_ANSWER;
    // While it was on its way, another run may have been chosen.
    if (!reply || runs.wanted !== wanted) return;
    runs.update(reply.runs, reply.run);
    summary.update(reply);
    table.update(reply.weights);
    const hasPoints = Object.keys(reply.totals).length > 0;
    hint.textContent = reply.run === null ? NO_RUN : hasPoints ? "" : NO_POINTS;
  }

  const refresh = keepFresh(load);
}

async function ask(run) {
  const address = here("table");
  if (run !== null) address.searchParams.set("run", run);
  try {
    const reply = await fetch(address);
    return reply.ok ? await reply.json() : null;
  } catch {
    return null;
  }
}
