// The bar of a layer. It is made once; then only the widths and words in it change.

import { CutName } from "./cut_name.js";
import { element, setText } from "./dom.js";
import { countOf, nameOf, summaryOf } from "./network_words.js";

export class LayerBar {
  constructor(layer, number, width) {
    this.layer = layer;
    this.numbers = {};
    const name = new CutName();
    name.set(nameOf(layer));
    this.alive = element("span", { className: "alive" });
    this.nonzero = element("span", { className: "nonzero" });
    this.count = element("span", { className: "layer-count" });
    const bar = element("span", { className: "layer-bar" }, [
      element("span", { className: "layer-units" }, [this.alive]),
      element("span", { className: "layer-weights" }, [this.nonzero]),
    ]);
    bar.style.width = `${width}%`;
    this.node = element("div", { className: "layer", tabIndex: -1 }, [
      element("span", { className: "layer-name" }, [name.node]),
      element("span", { className: "layer-place" }, [bar]),
      this.count,
    ]);
    this.node.dataset.number = number;
    this.node.setAttribute("role", "option");
    this.node.setAttribute("aria-selected", "false");
  }

  update(numbers) {
    this.numbers = numbers;
    const { alive, zeros } = numbers;
    setWidth(this.alive, alive === null ? 0 : alive / this.layer.counted);
    setWidth(this.nonzero, zeros === null ? 0 : 1 - zeros);
    setText(this.count, countOf(this.layer, numbers));
    this.node.setAttribute("aria-label", summaryOf(this.layer, numbers));
  }
}

function setWidth(node, fraction) {
  const width = `${100 * Math.min(Math.max(fraction, 0), 1)}%`;
  if (node.style.width !== width) node.style.width = width;
}
