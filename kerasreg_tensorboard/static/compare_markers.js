// What stands for a run in the chart and in its legend: a shape of its own for each style, so that
// colours alone tell nothing.

import { shape } from "./svg.js";

const polygon = (...points) => (r) => `M${points.map(([x, y]) => [x * r, y * r]).join("L")}Z`;

const SHAPES = [
  (r) => `M${-r},0a${r},${r} 0 1 0 ${2 * r},0a${r},${r} 0 1 0 ${-2 * r},0Z`,
  polygon([-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]),
  polygon([0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]),
  polygon([0, -1.2], [1.2, 0.9], [-1.2, 0.9]),
  polygon([0, 1.2], [1.2, -0.9], [-1.2, -0.9]),
  polygon([-1.2, -0.5], [-0.5, -0.5], [-0.5, -1.2], [0.5, -1.2], [0.5, -0.5], [1.2, -0.5],
    [1.2, 0.5], [0.5, 0.5], [0.5, 1.2], [-0.5, 1.2], [-0.5, 0.5], [-1.2, 0.5]),
];

export const marker = (style, radius) => SHAPES[style](radius);

// A sample for the legend, 28 by 14.
export function sample(...attributes) {
  const size = { class: "sample", width: 28, height: 14, viewBox: "-14 -7 28 14" };
  const parts = attributes.map((each) => shape("path", each));
  return shape("svg", { ...size, "aria-hidden": "true" }, parts);
}
