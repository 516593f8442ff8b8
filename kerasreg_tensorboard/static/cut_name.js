// A name that loses its middle where there is no room for it. The page has all of it, for a search
// and for a screen reader.

import { element, setText } from "./dom.js";

const LAST = 24; // letters that always stay, of the end

export class CutName {
  constructor() {
    this.start = element("span", { className: "start" });
    this.end = element("span", { className: "end" });
    this.node = element("span", { className: "cut" }, [this.start, this.end]);
  }

  set(text, title = text) {
    const place = endOf(text);
    setText(this.start, text.slice(0, place));
    setText(this.end, text.slice(place));
    this.node.title = title;
  }
}

// From a slash on, if there is one near enough.
function endOf(text) {
  const least = Math.max(text.length - LAST, 0);
  const slash = text.indexOf("/", least);
  const last = text.lastIndexOf("/");
  if (last < 0) return text.length > LAST ? Math.max(text.length - LAST / 2, 0) : 0;
  return slash >= 0 && slash < text.length - 1 ? slash : Math.max(last, text.length - LAST);
}
