// What the reader has chosen, as JSON under a name of ours: kept over a reload of the page, or
// for the next visits too.

const PREFIX = "kerasreg_sparsity.";

export const remember = (name, value) => write(() => sessionStorage, name, value);
export const recall = (name, otherwise) => read(() => sessionStorage, name, otherwise);
export const rememberAlways = (name, value) => write(() => localStorage, name, value);
export const recallAlways = (name, otherwise) => read(() => localStorage, name, otherwise);

// A browser may forbid storage to a frame, as in some notebooks: then a choice holds until the page
// is left.
function write(storage, name, value) {
  try {
    storage().setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // Nothing to do.
  }
}

function read(storage, name, otherwise) {
  try {
    return JSON.parse(storage().getItem(PREFIX + name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}
