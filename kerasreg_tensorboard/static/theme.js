// TensorBoard marks its own page as dark, not the frames in it.

export function followDarkMode() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const outer = outerBody();
  const apply = () => {
    const dark = outer ? outer.classList.contains("dark-mode") : system.matches;
    document.documentElement.classList.toggle("dark", dark);
  };
  if (outer) {
    new MutationObserver(apply).observe(outer, { attributeFilter: ["class"] });
  } else {
    system.addEventListener("change", apply);
  }
  apply();
}

function outerBody() {
  try {
    return window.parent === window ? null : window.parent.document.body;
  } catch {
    return null; // a page of another origin shows the frame
  }
}
