// The Sparsity tab: TensorBoard imports this module into a frame of its own and calls `render`.

import { element } from "./dom.js";
import { keepFresh } from "./refresh.js";
import { here, NoAnswer } from "./server.js";
import { recall, remember } from "./storage.js";
import { Tabs } from "./tabs.js";
import { followDarkMode } from "./theme.js";
import { VIEWS } from "./views.js";

const NO_ANSWER = "TensorBoard does not answer. The numbers below are the last that it gave.";

export function render() {
  followDarkMode();
  document.documentElement.lang = "en";
  document.title = "Sparsity";
  document.head.append(element("link", { rel: "stylesheet", href: here("style.css").href }));

  let refresh;
  const tab = { refresh: () => refresh(), open };
  const views = VIEWS.map(({ make }) => make(tab));
  const panels = VIEWS.map(({ id, label }, i) => ({ id, label, node: views[i].node }));
  const place = (id) => VIEWS.findIndex((view) => view.id === id);
  const tabs = new Tabs("Views", panels, () => {
    remember("view", VIEWS[tabs.shown].id);
    refresh();
  });
  tabs.show(Math.max(place(recall("view")), 0));

  function open(run, ...details) {
    views[place("run")].open(run, ...details);
    tabs.choose(place("run"));
    refresh();
  }

  const status = element("p", { className: "status" });
  status.setAttribute("role", "status");
  const [list, ...shown] = tabs.nodes;
  document.body.append(element("main", {}, [list, status, ...shown]));

  async function load() {
    try {
      await views[tabs.shown].load();
      status.textContent = "";
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      status.textContent = NO_ANSWER;
    }
  }

  refresh = keepFresh(load);
}
