// The views of the tab, in the order of their tabs. A view has a `node`, and `load()` brings it up
// to date; it is made with the `Tab`, which `refresh()`es what is on show and `open(run)`s a run in
// the view of that.

import { CompareView } from "./compare.js";
import { RunView } from "./run_view.js";

export const VIEWS = [
  { id: "compare", label: "Compare", make: (tab) => new CompareView(tab.open) },
  { id: "run", label: "Run", make: (tab) => new RunView(tab.refresh) },
];
