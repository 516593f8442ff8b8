// Several views in one place, one of them on show: tabs as the WAI-ARIA Authoring Practices have
// them. Arrows, Home and End go through the tabs and show what they reach.

import { element } from "./dom.js";

const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

export class Tabs {
  // `panels` are `{id, label, node}`.
  constructor(label, panels, onChange) {
    this.onChange = onChange;
    this.tabs = panels.map((panel) => tabOf(panel));
    this.panels = panels.map((panel) => panelOf(panel));
    this.list = element("div", { className: "tabs", role: "tablist", ariaLabel: label }, this.tabs);
    this.tabs.forEach((tab, i) => tab.addEventListener("click", () => this.choose(i)));
    this.list.addEventListener("keydown", (event) => this.move(event));
    this.show(0);
  }

  get nodes() {
    return [this.list, ...this.panels];
  }

  move(event) {
    const step = STEPS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const [last, next] = [this.tabs.length - 1, this.shown + step];
    const turned = next > last ? 0 : next < 0 ? last : next;
    this.choose(Number.isFinite(step) ? turned : step > 0 ? last : 0);
    this.tabs[this.shown].focus();
  }

  choose(i) {
    if (i === this.shown) return;
    this.show(i);
    this.onChange(i);
  }

  show(shown) {
    this.shown = shown;
    this.tabs.forEach((tab, i) => {
      tab.ariaSelected = String(i === shown);
      tab.tabIndex = i === shown ? 0 : -1;
      this.panels[i].hidden = i !== shown;
    });
  }
}

function tabOf({ id, label }) {
  const tab = element("button", { type: "button", id: `${id}-tab`, role: "tab" }, [label]);
  tab.setAttribute("aria-controls", `${id}-view`);
  return tab;
}

function panelOf({ id, node }) {
  const panel = element("div", { id: `${id}-view`, className: "view", role: "tabpanel" }, [node]);
  panel.setAttribute("aria-labelledby", `${id}-tab`);
  return panel;
}
