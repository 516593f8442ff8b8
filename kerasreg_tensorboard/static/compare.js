// All runs in one chart, a point a run, and in a table: the picture that decides a sweep.

import { hyperparameters, metrics, preferred, regularity } from "./compare_axes.js";
import { CompareChart } from "./compare_chart.js";
import { AxisControls } from "./compare_controls.js";
import { frontier } from "./compare_frontier.js";
import { Legend } from "./compare_legend.js";
import { seriesOf } from "./compare_series.js";
import { RunTable } from "./compare_table.js";
import { element, setText } from "./dom.js";
import { ask } from "./server.js";
import { recall, remember } from "./storage.js";

const NO_RUNS = "No run here was logged by kerasreg.RegularizationLogger.";

export class CompareView {
  constructor(onOpen) {
    this.x = new AxisControls("x", () => this.draw());
    this.y = new AxisControls("y", () => this.draw());
    this.filter = element("input", { type: "search", id: "compare-filter" });
    this.filter.value = recall("compare.filter", "");
    this.filter.addEventListener("input", () => {
      remember("compare.filter", this.filter.value);
      this.draw();
    });
    const label = element("label", { htmlFor: this.filter.id, textContent: "Filter runs" });
    const filter = element("div", {}, [label, this.filter]);
    this.title = element("h2");
    this.legend = new Legend();
    this.chart = new CompareChart(onOpen);
    this.note = element("p", { className: "hint note" });
    this.hint = element("p", { className: "hint", textContent: "Loading …" });
    this.hint.setAttribute("role", "status");
    this.table = new RunTable(onOpen);
    this.shown = element("div", { hidden: true }, [
      element("div", { className: "controls" }, [this.y.node, this.x.node, filter]),
      this.title,
      this.legend.node,
      this.chart.node,
      this.note,
      this.table.node,
    ]);
    this.node = element("div", { className: "compare" }, [this.hint, this.shown]);
  }

  async load() {
    const reply = await ask("compare");
    const words = JSON.stringify(reply);
    if (words === this.words) return;
    this.words = words;
    this.numbers = reply.numbers;
    this.runs = reply.runs.map((run) => readRun(run, reply.numbers));
    this.draw();
  }

  draw() {
    this.shown.hidden = !this.runs.length;
    if (!this.runs.length) return setText(this.hint, NO_RUNS);
    const { metrics: measured, others } = metrics(this.numbers);
    const kept = regularity(this.runs);
    const numeric = hyperparameters(this.runs).filter((each) => each.numeric);
    const x = this.x.update([["", kept], ["Hyper-parameters", numeric]], kept[0]);
    const y = this.y.update([["", measured], ["Other numbers", others]], preferred([...measured, ...others]));
    const runs = this.runs.filter(matcher(this.filter.value));
    const places = x && y ? placesOf(runs, x, y) : [];
    const byRun = new Map(places.map((place) => [place.run, place]));
    const series = seriesOf(this.runs)
      .map((each) => ({ ...each, places: each.runs.flatMap((run) => byRun.get(run) ?? []) }))
      .filter((each) => each.places.length);
    const best = x && y ? bestOf(places, x, y) : [];
    this.say(runs, places, x, y);
    this.legend.update(series, best, x, y);
    if (x && y) this.chart.update({ axes: { x, y }, series, best, title: this.title.textContent });
    this.table.update(this.runs, this.numbers, runs, new Set(best.map(({ run }) => run.name)));
  }

  say(runs, places, x, y) {
    const all = this.runs.length;
    const some = runs.length === all ? "" : `${runs.length} of ${inRuns(all)} match the filter. `;
    setText(this.hint, x && y ? some.trim() : "No points yet.");
    if (!x || !y) return;
    const last = places.length === 1 ? "the last point of 1 run" : `the last points of ${inRuns(places.length)}`;
    setText(this.title, `${y.label} against ${x.label}: ${last}`);
    setText(this.note, leftOut(runs, places, x, y));
  }
}

// Numbers as numbers, in maps by their names; `step` is that of the last point.
function readRun({ points, strength, ...run }, names) {
  const read = ([step, value]) => [step, Number(value)];
  const found = names.flatMap((name, i) => (points[i] ? [[name, read(points[i])]] : []));
  return {
    ...run,
    points: new Map(found),
    strength: strength && read(strength),
    step: Math.max(0, ...found.map(([, [step]]) => step)),
  };
}

// A run matches a text if each of its words stands in what is said of the run.
function matcher(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return ({ name, hparams, penalties }) => {
    const chosen = Object.entries(hparams).map(([key, value]) => `${key}=${value}`);
    const said = [name, ...chosen, ...penalties.map(([penalty]) => penalty)].join(" ");
    return words.every((word) => said.toLowerCase().includes(word));
  };
}

const isShown = (axis, point) =>
  point !== undefined && Number.isFinite(point[1]) && (point[1] > 0 || !axis.log);

function placesOf(runs, x, y) {
  const places = runs.map((run) => ({ run, x: x.point(run), y: y.point(run) }));
  return places.filter((place) => isShown(x, place.x) && isShown(y, place.y));
}

function bestOf(places, x, y) {
  const flat = places.map((place) => ({ place, x: place.x[1], y: place.y[1] }));
  return frontier(flat, x.better, y.better).map(({ place }) => place);
}

const inRuns = (number) => `${number} ${number === 1 ? "run" : "runs"}`;

// Why runs of the table are not in the chart.
function leftOut(runs, places, x, y) {
  const reasons = [y, x].flatMap((axis) => {
    const points = runs.map(axis.point);
    const missing = points.filter((point) => point === undefined).length;
    const wild = points.filter((point) => point && !Number.isFinite(point[1])).length;
    const low = points.filter((point) => point && axis.log && point[1] <= 0).length;
    return [
      missing && `${inRuns(missing)} without ${axis.label}`,
      wild && `${inRuns(wild)} whose ${axis.label} is not finite`,
      low && `${inRuns(low)} whose ${axis.label} is not positive, on a log scale`,
    ].filter(Boolean);
  });
  return reasons.length ? `Not in the chart: ${reasons.join("; ")}.` : "";
}
