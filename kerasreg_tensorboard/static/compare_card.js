// What is said of the run under the pointer or with the focus.

import { element } from "./dom.js";
import { count, short } from "./numbers.js";

const MOST = 12; // lines of a list
const GAP = 14; // to the point, in pixels

export class RunCard {
  constructor() {
    this.node = element("div", { className: "card", id: "run-card", role: "tooltip", hidden: true });
  }

  // At a point `[left, top]` of what the card is positioned in, which is `width` wide.
  show({ run, x, y }, axes, [left, top], width) {
    const of = (axis, [step, value]) => [
      axis.label,
      axis.format(value) + (step === undefined || step === run.step ? "" : ` (step ${count(step)})`),
    ];
    this.node.replaceChildren(
      element("strong", { textContent: run.name }),
      list([["Step", count(run.step)], of(axes.y, y), of(axes.x, x), ...strengthOf(run, axes)]),
      ...titled("Hyper-parameters", Object.entries(run.hparams).map(plain)),
      ...titled("Penalties", run.penalties.map(([penalty, weights]) => [onWeights(weights), penalty])),
      element("p", { textContent: "Click or Enter opens the run." }),
    );
    this.node.hidden = false;
    const { offsetWidth, offsetHeight } = this.node;
    const right = left + GAP + offsetWidth <= width;
    const x0 = right ? left + GAP : left - GAP - offsetWidth;
    this.node.style.left = `${Math.max(0, Math.min(x0, width - offsetWidth))}px`;
    this.node.style.top = `${Math.max(0, top - offsetHeight / 2)}px`;
  }

  hide() {
    this.node.hidden = true;
  }
}

// Penalties are named as they were given; the strength is what they have come to.
const strengthOf = ({ strength }, { x }) =>
  strength && x.id !== "strength" ? [["Strength", short(strength[1])]] : [];

const plain = ([name, value]) => [name, typeof value === "number" ? short(value) : String(value)];

const onWeights = (weights) => `on ${weights} ${weights === 1 ? "weight" : "weights"}`;

function titled(title, rows) {
  const more = rows.length > MOST ? [["", `and ${rows.length - MOST} more`]] : [];
  const shown = [...rows.slice(0, MOST), ...more];
  return rows.length ? [element("em", { textContent: title }), list(shown)] : [];
}

const list = (rows) =>
  element("dl", {}, rows.map(([name, value]) =>
    element("div", {}, [
      element("dt", { textContent: name }),
      element("dd", { textContent: String(value) }),
    ]),
  ));
