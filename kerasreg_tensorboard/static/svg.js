// Elements of a drawing, as dom.js makes those of the page.

const SVG = "http://www.w3.org/2000/svg";

export function shape(tag, attributes = {}, children = []) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
