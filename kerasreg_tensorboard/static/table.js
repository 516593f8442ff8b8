// A table of many lines. Only those in view are in the page; what is above and below them is
// empty room of the table's own, so that it scrolls as if all were there. A line keeps its row while
// it is in view, so that nothing under the reader's eyes is lost when new numbers come.

import { element } from "./dom.js";

const LINE = 34; // pixels, as in the style sheet
const MORE = 6; // lines beyond the edges, so that scrolling finds them there

export class LineTable {
  // `keyOf` tells lines from each other; `onView` gets those that come into view.
  constructor(title, keyOf, onView = () => {}) {
    this.keyOf = keyOf;
    this.onView = onView;
    this.lines = [];
    this.rows = new Map();
    this.columns = [];
    this.body = element("tbody");
    this.head = element("thead");
    this.widths = element("colgroup");
    this.table = element("table", {}, [
      element("caption", { textContent: title }),
      this.widths,
      this.head,
      this.body,
    ]);
    this.node = element("div", { className: "table", role: "region", tabIndex: 0 }, [this.table]);
    this.node.ariaLabel = title;
    this.node.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  // Other columns have other cells.
  setColumns(columns, headerRows) {
    this.columns = columns;
    this.headerRows = headerRows.length;
    const rows = headerRows.map((cells, i) => {
      const row = element("tr", {}, cells);
      row.ariaRowIndex = i + 1;
      return row;
    });
    this.widths.replaceChildren(...columns.map(({ className }) => element("col", { className })));
    this.head.replaceChildren(...rows);
    this.rows.clear();
    this.body.replaceChildren();
    this.table.className = columns.some(({ heading }) => heading) ? "paired" : "";
    this.setLines(this.lines);
  }

  setLines(lines) {
    this.lines = lines;
    this.table.ariaRowCount = this.headerRows + lines.length;
    this.draw();
  }

  // The lines in view, and a few beyond.
  get inView() {
    const first = Math.max(Math.floor(this.node.scrollTop / LINE) - MORE, 0);
    const height = this.node.clientHeight;
    return [first, Math.min(first + Math.ceil(height / LINE) + 2 * MORE, this.lines.length)];
  }

  draw() {
    const [first, last] = this.inView;
    this.table.style.paddingTop = `${first * LINE}px`;
    this.table.style.paddingBottom = `${(this.lines.length - last) * LINE}px`;
    const rows = new Map();
    for (let i = first; i < last; i += 1) {
      const line = this.lines[i];
      const row = this.rows.get(this.keyOf(line)) ?? new Row(this.columns);
      row.update(line);
      row.node.ariaRowIndex = this.headerRows + i + 1;
      rows.set(this.keyOf(line), row);
    }
    this.rows = rows;
    this.place([...rows.values()].map(({ node }) => node));
    this.onView(this.lines.slice(first, last));
  }

  // Moves as little as possible, and keeps the focus in the table.
  place(nodes) {
    const kept = new Set(nodes);
    const hadFocus = this.body.contains(document.activeElement);
    for (const node of [...this.body.children]) if (!kept.has(node)) node.remove();
    nodes.forEach((node, i) => {
      if (this.body.children[i] !== node) this.body.insertBefore(node, this.body.children[i] ?? null);
    });
    if (hadFocus && !this.body.contains(document.activeElement)) this.node.focus();
  }

  refill() {
    for (const row of this.rows.values()) row.update();
  }
}

class Row {
  constructor(columns) {
    const cells = columns.map(({ className }, i) => {
      const cell = element(i === 0 ? "th" : "td", { className });
      if (i === 0) cell.scope = "row";
      return cell;
    });
    this.node = element("tr", {}, cells);
    this.fillers = columns.map((column, i) => column.cell(cells[i]));
  }

  update(line = this.line) {
    this.line = line;
    this.node.classList.toggle("group", Boolean(line.group));
    for (const fill of this.fillers) fill(line);
  }
}
