// The table's columns: what a cell shows of a line, and what the lines are sorted by. With two runs
// a number has three columns below one heading: that of each run, and what they differ by.

import { CutName } from "./cut_name.js";
import { element, setText } from "./dom.js";
import { HistoryView } from "./history_view.js";
import { groupOf } from "./lines.js";
import { METRICS } from "./metrics.js";
import { count } from "./numbers.js";

export const FIRST = "first";
export const SECOND = "second";
export const DIFFERENCE = "difference";

// What a table shows: `data` of the first run and the second, and whether there is a second.
export function columnsOf(table, chosen) {
  const metrics = METRICS.filter(({ id }) => chosen.includes(id));
  const sides = table.paired ? [FIRST, SECOND, DIFFERENCE] : [FIRST];
  const numbers = metrics.flatMap((metric) =>
    sides.map((side) => new NumberColumn(metric, side, table)),
  );
  return [new NameColumn(table), new ShapeColumn(), ...numbers, new PenaltyColumn()];
}

class NameColumn {
  constructor(table) {
    Object.assign(this, { id: "name", label: "Weight", className: "name", table });
  }

  key = ({ weight }) => weight.name;
  total = (group) => group.name;

  cell(node) {
    const name = new CutName();
    const button = element("button", { type: "button", className: "fold" });
    const size = element("span", { className: "members" });
    const line = element("div", { className: "line-name" }, [button, name.node, size]);
    node.append(line);
    return ({ entry, group, inGroup }) => {
      button.hidden = !group;
      line.classList.toggle("member", Boolean(inGroup));
      setText(size, group ? ` ${count(group.entries.length)}` : "");
      if (group) {
        const title = group.name || "(no layer)";
        name.set(title, title);
        button.ariaLabel = `${title}, ${count(group.entries.length)} weights`;
        button.ariaExpanded = String(!this.table.folded.has(group.name));
        button.onclick = () => this.table.fold(group.name);
      } else {
        const shown = inGroup ? entry.weight.name.slice(groupOf(entry.weight).length + 1) : null;
        name.set(shown || entry.weight.name, this.table.path(entry), entry.weight.name);
      }
    };
  }
}

class ShapeColumn {
  constructor() {
    Object.assign(this, { id: "shape", label: "Shape", className: "shape" });
  }

  key = ({ weight }) => weight.size;
  total = ({ entries }) => entries.reduce((sum, { weight }) => sum + weight.size, 0);

  cell(node) {
    return ({ entry, group }) =>
      setText(node, group ? count(this.total(group)) : entry.weight.shape.join(" × "));
  }
}

class PenaltyColumn {
  constructor() {
    Object.assign(this, { id: "penalty", label: "Penalty", className: "penalty" });
  }

  key = ({ weight }) => weight.penalty;
  total = () => undefined;

  cell(node) {
    return ({ entry }) => {
      const { first, second } = entry ?? {};
      const penalties = new Set([first?.penalty, second?.penalty].filter(Boolean));
      const text = [...penalties].join(" | ");
      setText(node, text);
      node.title = text;
    };
  }
}

class NumberColumn {
  constructor(metric, side, table) {
    this.metric = metric;
    this.side = side;
    this.table = table;
    this.id = side === FIRST ? metric.id : `${metric.id} ${side}`;
    this.label = table.paired ? table.nameOf(side) : metric.label;
    this.heading = table.paired ? metric.label : null;
    this.className = `${table.paired ? "number" : "history"} ${metric.id}`;
  }

  key = (entry) => this.of((side) => this.own(entry, side));

  own(entry, side) {
    const weight = entry[side];
    return weight && this.table.data[side].value(this.metric.id, weight);
  }

  total = (group) => this.of((side) => this.sum(group, side));

  sum({ entries }, side) {
    const { of, total } = this.metric;
    if (!total) return undefined;
    const weights = entries.map((entry) => entry[side]).filter(Boolean);
    const known = weights
      .map((weight) => [this.table.data[side].value(of, weight), weight])
      .filter(([value]) => value !== undefined);
    return known.length
      ? total(known.map(([value]) => Number(value)), known.map(([, weight]) => weight))
      : undefined;
  }

  // A number of one run, or what the second has more than the first.
  of(read) {
    if (this.side !== DIFFERENCE) return asNumber(read(this.side));
    const [first, second] = [read(FIRST), read(SECOND)].map(asNumber);
    return first === undefined || second === undefined ? undefined : second - first;
  }

  cell(node) {
    return this.table.paired ? this.plain(node) : this.withHistory(node);
  }

  plain(node) {
    return ({ entry, group }) => {
      const value = group ? this.total(group) : this.key(entry);
      setText(node, value === undefined ? "" : this.words(value, entry, group));
    };
  }

  withHistory(node) {
    const view = new HistoryView();
    node.append(...view.nodes);
    return ({ entry, group }) => {
      const value = group ? this.total(group) : this.key(entry);
      const words = value === undefined ? "" : this.words(value, entry, group);
      const series = entry ? this.table.series(entry, this.metric.id) : [];
      view.show(words, series, entry && this.metric.top(entry.weight), this.table.step);
    };
  }

  words(value, entry, group) {
    const { format, whole } = this.metric;
    if (this.side === DIFFERENCE) return `${value > 0 ? "+" : ""}${format(value)}`;
    return format(value) + whole(group ? unitsOf(group, this.side) : entry[this.side]);
  }
}

const asNumber = (value) => (value === undefined ? undefined : Number(value));

const unitsOf = ({ entries }, side) => ({
  units: entries.reduce((sum, entry) => sum + (entry[side]?.units ?? 0), 0),
});
