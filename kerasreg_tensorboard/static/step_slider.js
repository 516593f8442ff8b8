// The step on show: at the right end, and at first, the latest, also when new points come.

import { element, setText } from "./dom.js";
import { count } from "./numbers.js";
import { recall, remember } from "./storage.js";

export class StepSlider {
  constructor(onChange) {
    this.step = recall("step", null); // null is the latest
    this.steps = [];
    this.input = element("input", { type: "range", id: "step", min: 0, max: 0, disabled: true });
    this.input.addEventListener("input", () => {
      const place = Number(this.input.value);
      this.choose(place === this.steps.length - 1 ? null : this.steps[place]);
      onChange();
    });
    this.output = element("output", { htmlFor: "step" });
    const label = element("label", { htmlFor: "step", textContent: "Step on show" });
    const line = element("div", { className: "slider" }, [this.input, this.output]);
    this.node = element("div", { className: "field" }, [label, line]);
  }

  choose(step) {
    this.step = step;
    remember("step", step);
    this.write();
  }

  // The steps that have points.
  offer(steps) {
    this.steps = steps;
    const last = Math.max(steps.length - 1, 0);
    this.input.max = last;
    this.input.disabled = steps.length < 2;
    // Of a step that this run does not have the one before is shown.
    const place = steps.findLastIndex((step) => step <= this.step);
    this.input.value = this.step === null ? last : Math.max(place, 0);
    this.write();
  }

  write() {
    const step = this.step ?? this.steps.at(-1);
    const words = step === undefined ? "" : count(step);
    setText(this.output, this.step === null ? `latest${words && ` (${words})`}` : words);
    this.input.setAttribute("aria-valuetext", this.output.textContent);
  }
}
