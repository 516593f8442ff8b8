// Which weights the table shows: those whose name matches, and that have a penalty of some kind.

import { element, setText } from "./dom.js";
import { matching, PatternError } from "./name_matcher.js";
import { Choice } from "./choice.js";
import { recall, remember } from "./storage.js";

const ALL = "";
const WITHOUT = "none";

export class Filters {
  constructor(onChange) {
    this.input = element("input", { type: "search", id: "name", spellcheck: false });
    this.input.placeholder = "dense.*kernel";
    this.input.value = recall("name", "");
    this.input.setAttribute("aria-describedby", "name-error");
    this.error = element("p", { className: "error", id: "name-error" });
    this.error.setAttribute("role", "alert");
    this.onChange = onChange;
    this.input.addEventListener("input", () => this.setName(this.input.value));
    this.penalty = new Choice("penalty", "Penalty", ALL, onChange);
    const label = element("label", { htmlFor: "name", textContent: "Name matches" });
    const name = element("div", { className: "field" }, [label, this.input, this.error]);
    this.nodes = [name, this.penalty.node];
    this.matched = { pattern: "", names: [], places: null };
  }

  setName(pattern) {
    this.input.value = pattern;
    remember("name", pattern);
    this.onChange();
  }

  // What there is to choose, of weights.
  offer(weights) {
    const kinds = [...new Set(weights.flatMap(kindsOf))].sort();
    const options = [[ALL, "All"], ...kinds.map((kind) => [kind, kind]), [WITHOUT, "Without"]];
    this.penalty.offer(options);
  }

  // The entries that pass. With a pattern that is wrong all names do, and the page says why.
  async pass(entries) {
    const places = await this.byName(entries.map(({ weight }) => weight.name));
    const wanted = this.penalty.value;
    const passes = ({ weight }) => {
      const kinds = kindsOf(weight);
      return wanted === WITHOUT ? kinds.length === 0 : kinds.includes(wanted);
    };
    const named = places ? entries.filter((_, i) => places.has(i)) : entries;
    return wanted === ALL ? named : named.filter(passes);
  }

  async byName(names) {
    const pattern = this.input.value;
    const { matched } = this;
    const same = names.length === matched.names.length && names.every((n, i) => n === matched.names[i]);
    if (pattern === matched.pattern && same) return matched.places;
    let [places, error] = [null, ""];
    try {
      if (pattern) places = await matching(pattern, names);
    } catch (wrong) {
      if (!(wrong instanceof PatternError)) throw wrong;
      error = wrong.message;
    }
    if (pattern !== this.input.value) return places; // of a later call is what is said
    this.matched = { pattern, names, places };
    setText(this.error, error);
    this.input.ariaInvalid = String(Boolean(error));
    return places;
  }
}

// `L2(l2=1e-05); GroupLasso(strength=0.0001), after the step` is an L2 and a GroupLasso.
const kindsOf = ({ penalty }) =>
  penalty ? penalty.split("; ").map((each) => each.split("(")[0]) : [];
