// A single run, or two side by side: what the model as a whole has, and the table of its weights.

import { Choice } from "./choice.js";
import { ColumnChooser } from "./column_chooser.js";
import { columnsOf, DIFFERENCE, FIRST, SECOND } from "./columns.js";
import { element, setText } from "./dom.js";
import { Filters } from "./filters.js";
import { Grouping } from "./grouping.js";
import { groupOf, join, keyOf, linesOf } from "./lines.js";
import { METRICS } from "./metrics.js";
import { NetworkFold } from "./network_fold.js";
import { RunData } from "./run_data.js";
import { NoAnswer } from "./server.js";
import { Sorting } from "./sorting.js";
import { StepSlider } from "./step_slider.js";
import { Summary } from "./summary.js";
import { LineTable } from "./table.js";

const NO_RUN = "No run here was logged by kerasreg.RegularizationLogger.";
const NO_POINTS =
  "No points yet. The first comes when an epoch ends, or after update_freq training batches.";
const NO_MATCH = "No weight passes the filters.";

const NO_OTHER = "";
const FEW = 1000; // weights; of so many all numbers come at once, so that sorting does not wait

export class RunView {
  constructor(refresh) {
    const arrange = () => this.arrange();
    this.refresh = refresh;
    this.data = { [FIRST]: new RunData(), [SECOND]: new RunData() };
    this.entries = [];
    this.runs = new Choice("run", "Run", null, refresh);
    this.others = new Choice("other", "Compare with", NO_OTHER, refresh);
    this.slider = new StepSlider(refresh);
    this.filters = new Filters(arrange);
    this.grouping = new Grouping(arrange);
    this.sorting = new Sorting("sort", arrange);
    this.chooser = new ColumnChooser(() => {
      this.setColumns();
      arrange();
    });
    this.network = new NetworkFold(refresh, (pattern) => this.filters.setName(pattern));
    this.summary = new Summary();
    this.hint = element("p", { className: "hint", textContent: "Loading …" });
    this.table = new LineTable("The weights of the run", keyOf, (lines) => this.fill(lines));
    const choices = [this.runs.node, this.others.node, this.slider.node];
    const tools = [...this.filters.nodes, this.grouping.node, this.chooser.node];
    this.node = element("div", { className: "run-view" }, [
      element("header", {}, [...choices, this.summary.node]),
      this.network.node,
      element("div", { className: "tools" }, tools),
      this.hint,
      this.table.node,
    ]);
    this.setColumns();
  }

  // Shows a run from the next `load` on.
  open(run) {
    this.runs.choose(run);
  }

  get paired() {
    return this.others.value !== NO_OTHER;
  }

  get step() {
    return this.slider.step;
  }

  async load() {
    const choice = this.choice;
    const [first, second] = [this.data[FIRST], this.data[SECOND]];
    const replies = await Promise.all([
      first.ask(this.runs.value, this.step),
      this.paired ? second.ask(this.others.value, this.step) : null,
    ]);
    // While they were on their way, another run may have been chosen.
    if (this.choice !== choice) return;
    const [reply, other] = replies;
    first.take(reply, this.step);
    this.runs.offer(reply.runs.map((name) => [name, name]));
    this.runs.value = this.runs.select.value = reply.run;
    const others = reply.runs.filter((name) => name !== reply.run).map((name) => [name, name]);
    this.others.offer([[NO_OTHER, "None"], ...others]);
    if (other && this.paired) second.take(other, this.step);
    else second.clear();
    this.entries = join(first.weights, second.weights);
    this.slider.offer([...new Set([...first.steps, ...second.steps])].sort((a, b) => a - b));
    this.filters.offer([...first.weights, ...second.weights]);
    if (this.columnsAre !== this.columnsKey) this.setColumns();
    this.table.node.ariaBusy = String(!this.isReady);
    await Promise.all([this.loadColumns(), this.network.update(reply.run, this.step)]);
    this.summary.update(first);
    await this.arrange();
    this.table.node.ariaBusy = "false";
  }

  // What a reply has to be for to be shown.
  get choice() {
    return JSON.stringify([this.runs.value, this.others.value, this.step]);
  }

  // The numbers that are needed of all weights.
  get needed() {
    const chosen = METRICS.filter(({ id }) => this.chooser.chosen.includes(id));
    const sorted = this.sorting.columnOf(this.columns)?.metric;
    const few = this.entries.length <= FEW;
    const { grouped } = this.grouping;
    const of = chosen.flatMap((metric) => [
      ...(few || metric === sorted ? [metric.id] : []),
      ...(metric.total && (few || grouped) ? [metric.of] : []),
    ]);
    return [...new Set(of)];
  }

  get isReady() {
    return this.shown.every((data) => data.has(this.needed));
  }

  async loadColumns() {
    const { needed } = this;
    await Promise.all(this.shown.map((data) => data.loadColumns(needed)));
  }

  get shown() {
    return this.paired ? [this.data[FIRST], this.data[SECOND]] : [this.data[FIRST]];
  }

  get columnsKey() {
    const names = this.paired ? [this.runs.value, this.others.value] : [];
    return JSON.stringify([this.chooser.chosen, ...names]);
  }

  setColumns() {
    this.columnsAre = this.columnsKey;
    const { data, paired } = this;
    const names = {
      [FIRST]: this.runs.value,
      [SECOND]: this.others.value,
      [DIFFERENCE]: "Difference",
    };
    const view = this;
    const table = {
      data,
      paired,
      nameOf: (side) => names[side] ?? "",
      path: (entry) => view.rowOf(entry)?.path ?? entry.weight.name,
      series: (entry, metric) => view.rowOf(entry)?.cells[metric]?.series ?? [],
      fold: (name) => view.grouping.toggle(name),
      get folded() {
        return view.grouping.folded;
      },
      get step() {
        return view.step;
      },
    };
    this.columns = columnsOf(table, this.chooser.chosen);
    this.table.setColumns(this.columns, this.sorting.rows(this.columns));
  }

  rowOf({ first, second }) {
    return first ? this.data[FIRST].rows.get(first.number) : this.data[SECOND].rows.get(second.number);
  }

  // Puts the lines in their order, at once if all is known that it takes.
  async arrange() {
    if (!this.isReady) {
      this.table.node.ariaBusy = "true";
      this.refresh();
      return;
    }
    const turn = (this.turn = {});
    const passed = await this.filters.pass(this.entries);
    if (this.turn !== turn) return; // the last one is what counts
    const column = this.sorting.columnOf(this.columns);
    const order = column && {
      key: column.key,
      total: column.total,
      descending: this.sorting.chosen.descending,
    };
    const { grouped, folded } = this.grouping;
    this.grouping.names = [...new Set(this.entries.map(({ weight }) => groupOf(weight)))];
    this.table.node.hidden = this.entries.length === 0;
    this.table.setLines(linesOf(passed, { grouped, folded, order }));
    const { run, totals } = this.data[FIRST];
    const hasPoints = Object.keys(totals).length > 0;
    const found = passed.length || !this.entries.length ? "" : NO_MATCH;
    setText(this.hint, run === null ? NO_RUN : hasPoints || this.step !== null ? found : NO_POINTS);
  }

  // Asks for the histories of the lines in view.
  async fill(lines) {
    this.inView = lines;
    if (this.filling) return;
    this.filling = true;
    try {
      for (let asked = null; asked !== this.inView; ) {
        asked = this.inView;
        await this.loadRows(asked);
        this.table.refill();
      }
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error; // the next `load` says so
    } finally {
      this.filling = false;
    }
  }

  loadRows(lines) {
    const entries = lines.map(({ entry }) => entry).filter(Boolean);
    const { chosen } = this.chooser;
    const load = (side) =>
      this.data[side].loadRows(
        entries.map((entry) => entry[side]?.number).filter((number) => number !== undefined),
        chosen,
      );
    return Promise.all([load(FIRST), this.paired ? load(SECOND) : null]);
  }
}
