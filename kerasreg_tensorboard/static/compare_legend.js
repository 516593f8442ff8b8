// What the marks in the chart mean.

import { marker, sample } from "./compare_markers.js";
import { LARGEST_STYLE } from "./compare_series.js";
import { element } from "./dom.js";

export class Legend {
  constructor() {
    this.node = element("ul", { className: "legend", ariaLabel: "Legend" });
  }

  update(series, best, x, y) {
    const items = styles(series).map(({ style, isPath, words }) =>
      item(words, isPath ? { class: `path style-${style}`, d: "M-14,0H14" } : {}, {
        class: `point style-${style}`,
        d: marker(style, 5),
      }),
    );
    if (best.length) items.push(frontierItem(x, y));
    this.node.replaceChildren(...items);
  }
}

// Paths beyond the styles share the last one.
function styles(series) {
  const found = [];
  for (const { style, isPath, label, places } of series) {
    const number = places.length;
    const last = found.at(-1);
    if (style === LARGEST_STYLE && last?.style === style) {
      last.number += number;
      last.words = `further paths (${inRuns(last.number)})`;
    } else {
      const words = isPath ? `path ${label} (${inRuns(number)})` : inRuns(number);
      found.push({ style, isPath, number, words });
    }
  }
  return found;
}

function frontierItem(x, y) {
  const words = `frontier: no run has both ${y.better} ${y.label} and ${x.better} ${x.label}`;
  return item(words, { class: "frontier", d: "M-14,0H14" }, { class: "point best plain", d: marker(0, 5) });
}

const inRuns = (number) => `${number} ${number === 1 ? "run" : "runs"}`;

const item = (words, ...attributes) =>
  element("li", {}, [sample(...attributes), element("span", { textContent: words })]);
