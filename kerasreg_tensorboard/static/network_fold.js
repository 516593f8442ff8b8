// The picture of the network in the view of a run, where the reader unfolds it. A folded one asks
// the server for nothing.

import { element } from "./dom.js";
import { NetworkPicture } from "./network.js";
import { recall, remember } from "./storage.js";

export class NetworkFold {
  // `onChoose` gets a regular expression for the names of the chosen layer's weights.
  constructor(refresh, onChoose) {
    this.picture = new NetworkPicture((layer) => onChoose(layer === null ? "" : patternOf(layer)));
    this.node = element("details", { className: "network-fold", open: recall("network", false) }, [
      element("summary", { textContent: "Picture of the network" }),
      this.picture.node,
    ]);
    this.node.addEventListener("toggle", () => {
      remember("network", this.node.open);
      if (this.node.open) refresh();
    });
  }

  async update(run, step) {
    if (this.node.open) await this.picture.update(run, step);
  }
}

// A second layer of the same name is written `dense#2`, and its weights `dense/kernel#2`.
function patternOf(layer) {
  const plain = layer.replace(/#\d+$/, "").replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return plain ? `^${plain}/` : "^[^/]+$";
}
