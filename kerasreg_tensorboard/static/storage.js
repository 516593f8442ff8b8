// What the reader has chosen, kept over a reload of the page: JSON under a name of ours.

const PREFIX = "kerasreg_sparsity.";

// A browser may forbid storage to a frame, as in some notebooks: then a choice holds until the page
// is left.
export function remember(name, value) {
  try {
    sessionStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // Nothing to do.
  }
}

export function recall(name, otherwise) {
  try {
    return JSON.parse(sessionStorage.getItem(PREFIX + name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}
