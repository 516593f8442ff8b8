// What the reader chooses of an axis: the number, which way is better, and the scale.

import { element } from "./dom.js";
import { recall, remember } from "./storage.js";

const SIDES = ["higher", "lower", "neither"];

export class AxisControls {
  constructor(side, onChange) {
    this.side = side;
    this.chosen = recall(`compare.${side}`, null);
    this.better = recall(`compare.${side}.better`, {}); // by the axis's id, as is `log`
    this.log = recall(`compare.${side}.log`, {});
    this.number = this.select(`${side} axis`, "number", (id) => this.keep("", (this.chosen = id)));
    this.sides = this.select(`Better ${side}`, "better", (value) => {
      this.better[this.axis.id] = value;
      this.keep(".better", this.better);
    });
    this.sides.replaceChildren(...SIDES.map((value) => option(value, value)));
    this.scale = element("input", { type: "checkbox", id: `compare-${side}-log` });
    this.scale.addEventListener("change", () => {
      this.log[this.axis.id] = this.scale.checked;
      this.keep(".log", this.log);
    });
    this.onChange = onChange;
    const scaleLabel = element("label", { htmlFor: this.scale.id, textContent: `Log ${side}` });
    this.node = element("div", { className: "axis-controls" }, [
      this.labelled(this.number, `${side} axis`),
      this.labelled(this.sides, `Better ${side}`),
      element("div", { className: "check" }, [this.scale, scaleLabel]),
    ]);
  }

  select(label, name, onChange) {
    const node = element("select", { id: `compare-${this.side}-${name}` });
    node.addEventListener("change", () => onChange(node.value));
    return node;
  }

  labelled(node, label) {
    return element("div", {}, [element("label", { htmlFor: node.id, textContent: label }), node]);
  }

  keep(name, value) {
    remember(`compare.${this.side}${name}`, value);
    this.onChange();
  }

  // `groups` are `[label, axes]`, `otherwise` the axis while none is chosen.
  update(groups, otherwise) {
    const axes = groups.flatMap(([, of]) => of);
    const found = axes.find(({ id }) => id === this.chosen) ?? otherwise;
    const words = JSON.stringify(groups.map(([label, of]) => [label, of.map(({ id }) => id)]));
    if (words !== this.words) this.number.replaceChildren(...groups.flatMap(optionsOf));
    this.words = words;
    if (!found) return (this.axis = undefined);
    const better = this.better[found.id] ?? found.better;
    this.axis = { ...found, better, log: this.log[found.id] ?? found.log ?? false };
    this.number.value = found.id;
    this.sides.value = better;
    this.scale.checked = this.axis.log;
    return this.axis;
  }
}

const option = (value, textContent) => element("option", { value, textContent });

function optionsOf([label, axes]) {
  const options = axes.map((axis) => option(axis.id, axis.label));
  if (!label || !options.length) return options;
  return [element("optgroup", { label }, options)];
}
