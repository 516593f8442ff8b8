// Elements are made here and filled through properties, so that no name is ever read as HTML.

export function element(tag, properties = {}, children = []) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// Leaves the page alone where nothing changed: most numbers stay from one answer to the next.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
