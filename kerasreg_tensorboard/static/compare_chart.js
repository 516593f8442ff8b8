// The chart of all runs: a point a run. The pointer or the keyboard names a run, and opens it.

import { marker } from "./compare_markers.js";
import { RunCard } from "./compare_card.js";
import { makeScale, tickText } from "./compare_scale.js";
import { element } from "./dom.js";
import { percent } from "./numbers.js";
import { shape } from "./svg.js";

const REACH = 32; // pixels from the pointer to the point that it means
const TOP = 12;
const RIGHT = 20;
const BOTTOM = 46;
const STEPS = {
  ArrowRight: 1,
  ArrowLeft: -1,
  ArrowUp: 1,
  ArrowDown: -1,
  Home: -Infinity,
  End: Infinity,
};

export class CompareChart {
  constructor(onOpen) {
    this.onOpen = onOpen;
    this.card = new RunCard();
    this.points = new Map(); // nodes by the names of their runs
    this.axes = shape("g", { class: "axes", "aria-hidden": "true" });
    this.lines = shape("g", { class: "paths", "aria-hidden": "true" });
    this.frontier = shape("path", { class: "frontier", "aria-hidden": "true" });
    this.group = shape("g", { class: "points" });
    this.svg = shape("svg", { class: "chart", role: "group" });
    this.svg.append(this.axes, this.lines, this.frontier, this.group);
    this.node = element("div", { className: "chart-frame" }, [this.svg, this.card.node]);
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  listen() {
    this.svg.addEventListener("pointermove", (event) => this.show(this.nearest(event)));
    this.svg.addEventListener("pointerleave", () => this.show(this.focused()));
    this.svg.addEventListener("click", (event) => this.open(this.nearest(event)));
    // Not on the group: Chromium puts a part of a drawing that listens to them among the stops of
    // the Tab key.
    this.node.addEventListener("focusin", () => this.show(this.focused()));
    this.node.addEventListener("focusout", () => this.show(undefined));
    this.node.addEventListener("keydown", (event) => this.press(event));
  }

  // `axes` are `{x, y}` with `label`, `format` and `log`; `series` have a `style` and `places`,
  // which are `{run, x, y}` with `[step, value]`; those in `best` are drawn as the frontier.
  update(spec) {
    this.spec = spec;
    this.svg.setAttribute("aria-label", spec.title);
    this.draw();
  }

  draw() {
    const width = this.node.clientWidth;
    if (!this.spec || !width) return; // the tab is hidden
    const { series, best } = this.spec;
    const height = Math.round(Math.min(Math.max(0.5 * width, 280), 460));
    this.svg.setAttribute("width", width);
    this.svg.setAttribute("height", height);
    this.places = series.flatMap(({ places }) => places);
    this.measure(width, height);
    this.lines.replaceChildren(...series.filter(({ isPath }) => isPath).map((s) => this.path(s)));
    this.frontier.setAttribute("d", this.stairs(best));
    this.drawPoints();
  }

  measure(width, height) {
    const { x, y } = this.spec.axes;
    const bottom = height - BOTTOM;
    const vertical = this.scale("y", [bottom, TOP], y.log, Math.floor((bottom - TOP) / 45));
    const texts = (axis, { ticks }) => ticks.map((tick) => tickText(tick, axis.format === percent));
    const yTexts = texts(y, vertical);
    const left = 40 + 7 * Math.max(2, ...yTexts.map((text) => text.length));
    const across = Math.max(2, Math.floor((width - left - RIGHT) / 90));
    const horizontal = this.scale("x", [left, width - RIGHT], x.log, across);
    const xTexts = texts(x, horizontal);
    this.at = (place) => [horizontal.place(place.x[1]), vertical.place(place.y[1])];
    const middle = (bottom + TOP) / 2;
    this.axes.replaceChildren(
      ...horizontal.ticks.map(({ value }, i) =>
        tick("x", horizontal.place(value), bottom, xTexts[i], TOP)),
      ...vertical.ticks.map(({ value }, i) =>
        tick("y", left, vertical.place(value), yTexts[i], width - RIGHT)),
      label(x, { x: (left + width - RIGHT) / 2, y: height - 8 }),
      label(y, { x: 14, y: middle, transform: `rotate(-90 14 ${middle})` }),
    );
  }

  scale(side, ends, log, count) {
    const values = this.places.map((place) => place[side][1]);
    const range = [Math.min(...values), Math.max(...values)];
    const whole = this.spec.axes[side].whole ?? range; // where there is nothing to spread
    if (!values.length) return makeScale([1, 10], ends, log, count);
    return makeScale(range[0] < range[1] ? range : whole, ends, log, count);
  }

  // The points of a path, in the order of x.
  path({ style, places }) {
    const sorted = [...places].sort(inOrder);
    const d = sorted.length ? `M${sorted.map((place) => pair(this.at(place))).join("L")}` : "";
    return shape("path", { class: `path style-${style}`, d });
  }

  // What no run is beyond: level from each point of the frontier to the next, then up or down.
  stairs(best) {
    const [first, ...others] = best.map((place) => this.at(place).map(round));
    if (!first) return "";
    return `M${first}${others.map(([x, y]) => `H${x}V${y}`).join("")}`;
  }

  drawPoints() {
    const radius = this.places.length > 150 ? 3.5 : 5;
    const best = new Set(this.spec.best);
    const focused = this.focused();
    const nodes = new Map();
    for (const { style, places } of this.spec.series) {
      for (const place of places) {
        const node = this.points.get(place.run.name) ?? point();
        node.place = place;
        this.fill(node, place, style, radius, best.has(place));
        nodes.set(place.run.name, node);
      }
    }
    this.points = nodes;
    this.order = [...nodes.values()].sort((a, b) => inOrder(a.place, b.place));
    const above = (node) => best.has(node.place); // and so drawn last
    const drawn = [...nodes.values()].sort((a, b) => above(a) - above(b));
    const shown = this.group.children;
    if (drawn.length !== shown.length || drawn.some((node, i) => node !== shown[i])) {
      this.group.replaceChildren(...drawn);
    }
    const entry = (focused && nodes.get(focused.place.run.name)) ?? this.order[0];
    for (const node of this.order) node.setAttribute("tabindex", node === entry ? 0 : -1);
    if (focused) entry?.focus();
    this.show(this.shown && nodes.get(this.shown.place.run.name));
  }

  fill(node, place, style, radius, isBest) {
    const { x, y } = this.spec.axes;
    const says = [x.format(place.x[1]), y.format(place.y[1])];
    set(node, "class", `point style-${style}${isBest ? " best" : ""}`);
    set(node, "d", marker(style, isBest ? radius + 1 : radius));
    set(node, "transform", `translate(${pair(this.at(place))})`);
    set(node, "aria-label", `${place.run.name}: ${x.label} ${says[0]}, ${y.label} ${says[1]}`);
  }

  focused() {
    const node = document.activeElement;
    return this.group.contains(node) ? node : undefined;
  }

  nearest(event) {
    const { left, top } = this.svg.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    let [found, least] = [undefined, REACH];
    for (const node of this.order ?? []) {
      const [a, b] = this.at(node.place);
      const distance = Math.hypot(a - x, b - y);
      if (distance < least) [found, least] = [node, distance];
    }
    return found;
  }

  show(node) {
    this.shown?.classList.remove("shown");
    this.shown = node;
    this.svg.classList.toggle("pointed", node !== undefined);
    if (!node) return this.card.hide();
    node.classList.add("shown");
    this.card.show(node.place, this.spec.axes, this.at(node.place), this.node.clientWidth);
    node.setAttribute("aria-describedby", this.card.node.id);
  }

  open(node) {
    if (node) this.onOpen(node.place.run.name);
  }

  press(event) {
    const step = STEPS[event.key];
    if (event.key === "Enter" || event.key === " ") this.open(this.focused());
    else if (event.key === "Escape") this.show(undefined);
    else if (step !== undefined) this.move(step);
    else return;
    event.preventDefault();
  }

  move(step) {
    const last = this.order.length - 1;
    const from = this.order.indexOf(this.focused());
    const node = this.order[Math.min(Math.max(from + step, 0), last)];
    for (const each of this.order) each.setAttribute("tabindex", each === node ? 0 : -1);
    node.focus();
  }
}

const inOrder = (a, b) => a.x[1] - b.x[1] || a.y[1] - b.y[1];

const round = (number) => Number(number.toFixed(1));
const pair = (place) => place.map(round).join(",");

const point = () => shape("path", { role: "button", tabindex: -1 });

function tick(axis, x, y, words, end) {
  const [a, b] = [round(x), round(y)];
  const [line, place] =
    axis === "x"
      ? [`M${a},${b}V${end}`, { x: a, y: b + 18, "text-anchor": "middle" }]
      : [`M${a},${b}H${end}`, { x: a - 8, y: b + 4, "text-anchor": "end" }];
  const text = shape("text", { class: "tick-text", ...place }, [words]);
  return shape("g", { class: `tick ${axis}` }, [shape("path", { class: "grid", d: line }), text]);
}

const label = (axis, place) =>
  shape("text", { class: "axis-label", "text-anchor": "middle", ...place }, [
    axis.log ? `${axis.label} (log scale)` : axis.label,
  ]);

function set(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}
