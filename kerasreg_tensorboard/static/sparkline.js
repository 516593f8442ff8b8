// A number's history as a small line, from zero to the largest value that it can take.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 88;
const HEIGHT = 22;
const MARGIN = 3;

export class Sparkline {
  constructor() {
    this.node = shape("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      width: WIDTH,
      height: HEIGHT,
      class: "sparkline",
      "aria-hidden": "true", // the number beside it is read instead
    });
    this.area = shape("path", { class: "area" });
    this.line = shape("path", { class: "line" });
    this.dot = shape("circle", { class: "dot", r: 2 });
    this.node.append(this.area, this.line, this.dot);
  }

  // `top` is the value at the upper edge, or undefined for the largest in the history. The dot is at
  // the last point up to a step, or the last of all.
  update(history, top, step = null) {
    const pieces = finitePieces(history);
    const end = lastUpTo(step ?? Infinity, pieces);
    this.node.classList.toggle("empty", pieces.length === 0);
    this.dot.classList.toggle("empty", !end);
    const scale = scaleOf(history, pieces, top);
    set(this.line, "d", pieces.map((piece) => path(piece.map(scale))).join(""));
    set(this.area, "d", pieces.map((piece) => closed(piece.map(scale))).join(""));
    const [x, y] = end ? scale(end) : [0, 0];
    set(this.dot, "cx", x);
    set(this.dot, "cy", y);
  }
}

// The runs of points between NaNs and infinities.
function finitePieces(history) {
  const pieces = [[]];
  for (const [step, value] of history) {
    if (Number.isFinite(value)) pieces.at(-1).push([step, value]);
    else pieces.push([]);
  }
  return pieces.filter((piece) => piece.length > 0);
}

const lastUpTo = (limit, pieces) => pieces.flat().findLast(([step]) => step <= limit);

function scaleOf(history, pieces, top) {
  const first = history.at(0)?.[0] ?? 0;
  const span = (history.at(-1)?.[0] ?? 0) - first;
  const highest = top || Math.max(...pieces.flat().map(([, value]) => value)) || 1;
  const part = (fraction, length) => Number((MARGIN + fraction * (length - 2 * MARGIN)).toFixed(1));
  return ([step, value]) => [
    part(span ? (step - first) / span : 1, WIDTH),
    part(1 - Math.min(Math.max(value / highest, 0), 1), HEIGHT),
  ];
}

// One point alone is a line to itself, which round caps show as a dot.
const path = (points) => `M${points[0]}L${points.join("L")}`;

function closed(points) {
  const floor = HEIGHT - MARGIN;
  return `M${points[0][0]},${floor}L${points.join("L")}L${points.at(-1)[0]},${floor}Z`;
}

function shape(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function set(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}
