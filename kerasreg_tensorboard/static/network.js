// A picture of the network: a bar for each layer, in the order in which they compute.

import { element, setText } from "./dom.js";
import { LayerBar } from "./network_bar.js";
import { detailsOf, statementOf } from "./network_words.js";
import { ask } from "./server.js";

const MANY = 100; // layers; of more the bars are thin, and names are said of one at a time
const PER_CHUNK = 100; // the browser lays out only the chunks in view
const SIMILAR = 10; // up to this ratio widths go with the units themselves
const PAGE = 10; // layers

const HINT = "Point at a bar, or use the arrow keys, for its numbers.";

export class NetworkPicture {
  // `onChoose` gets the name of the layer that the reader chooses, null when none is any more.
  constructor(onChoose = () => {}) {
    this.onChoose = onChoose;
    this.version = null;
    this.bars = [];
    this.caption = element("p", { className: "network-caption" });
    this.list = element("div", { className: "network-layers" });
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "Layers, from the input to the output");
    this.details = element("div", { className: "network-details" });
    this.node = element("section", { className: "network", hidden: true }, [
      this.caption,
      this.list,
      this.details,
    ]);
    this.node.setAttribute("aria-label", "Picture of the network");
    this.list.addEventListener("pointerover", (event) => this.show(this.barOf(event.target)));
    this.list.addEventListener("focusin", (event) => this.focus(this.barOf(event.target)));
    this.list.addEventListener("click", (event) => this.choose(this.barOf(event.target)));
    this.list.addEventListener("keydown", (event) => this.press(event));
  }

  // Shows a run at a step, null for the latest.
  async update(run, step = null) {
    const turn = (this.turn = {});
    const known = this.run === run ? this.version : null;
    const reply = await ask("network", { run, step, known });
    if (this.turn !== turn) return; // another was asked for meanwhile
    this.run = run;
    this.version = reply.version;
    if (reply.layers) this.setLayers(reply.layers);
    this.bars.forEach((bar, i) => {
      bar.update({ alive: reply.alive[i], zeros: reply.zeros[i], kernels: reply.kernels[i] });
    });
    this.fillDetails();
  }

  setLayers(layers) {
    const { widthOf, squareRoot } = scaleOf(layers.map(({ units }) => units));
    this.bars = layers.map((layer, i) => new LayerBar(layer, i, widthOf(layer.units)));
    this.node.hidden = layers.length === 0;
    this.list.classList.toggle("many", layers.length > MANY);
    this.list.replaceChildren(...chunks(this.bars.map(({ node }) => node)));
    setText(this.caption, statementOf(layers, squareRoot));
    this.shown = this.reached = this.chosen = null;
    this.reach(this.bars[0]);
  }

  barOf(target) {
    return this.bars[target.closest("[role=option]")?.dataset.number];
  }

  // The one bar that the tab key reaches; arrow keys go on from there.
  reach(bar) {
    if (this.reached) this.reached.node.tabIndex = -1;
    if (bar) bar.node.tabIndex = 0;
    this.reached = bar;
  }

  focus(bar) {
    if (!bar) return;
    this.reach(bar);
    this.show(bar);
  }

  show(bar) {
    if (!bar || bar === this.shown) return;
    this.shown?.node.classList.remove("shown");
    bar.node.classList.add("shown");
    this.shown = bar;
    this.fillDetails();
  }

  fillDetails() {
    const lines = this.shown ? detailsOf(this.shown.layer, this.shown.numbers) : [HINT];
    while (this.details.children.length > lines.length) this.details.lastChild.remove();
    lines.forEach((line, i) => {
      const node = this.details.children[i] ?? this.details.appendChild(element("p"));
      setText(node, line);
    });
  }

  // A second time: none is chosen any more.
  choose(bar) {
    if (!bar) return;
    this.chosen?.node.setAttribute("aria-selected", "false");
    this.chosen = this.chosen === bar ? null : bar;
    this.chosen?.node.setAttribute("aria-selected", "true");
    this.onChoose(this.chosen?.layer.name ?? null);
  }

  press(event) {
    const last = this.bars.length - 1;
    const at = this.bars.indexOf(this.reached);
    const to = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + PAGE,
      PageUp: at - PAGE,
      Home: 0,
      End: last,
    }[event.key];
    if (to !== undefined) this.bars[Math.min(Math.max(to, 0), last)]?.node.focus();
    else if (event.key === "Enter" || event.key === " ") this.choose(this.reached);
    else return;
    event.preventDefault();
  }
}

// Widths in percent of the widest. Where layers differ by more than a few times, the square root
// keeps the small ones visible.
function scaleOf(units) {
  const widest = Math.max(...units);
  const squareRoot = widest > SIMILAR * Math.min(...units);
  const size = squareRoot ? Math.sqrt : (number) => number;
  return { squareRoot, widthOf: (number) => (100 * size(number)) / size(widest) };
}

function chunks(nodes) {
  const parts = [];
  for (let i = 0; i < nodes.length; i += PER_CHUNK) {
    const part = element("div", { className: "chunk" }, nodes.slice(i, i + PER_CHUNK));
    part.setAttribute("role", "presentation");
    parts.push(part);
  }
  return parts;
}
