// Finds the names that a regular expression matches somewhere, capitals or not. A worker does it,
// which can be ended: some patterns would take years.

import { here } from "./server.js";

const LIMIT_MS = 1000;

// The places of the names that match, as a set. Rejects with an error that says what is wrong.
export function matching(pattern, names) {
  return new Promise((resolve, reject) => {
    let expression;
    try {
      expression = new RegExp(pattern, "i");
    } catch (error) {
      reject(new PatternError(`This is no regular expression. ${error.message}`));
      return;
    }
    const worker = new Worker(here("match_worker.js"));
    const timer = setTimeout(() => {
      worker.terminate();
      reject(new PatternError("This takes too long to match. Repeat nothing that repeats itself."));
    }, LIMIT_MS);
    worker.onmessage = ({ data }) => {
      clearTimeout(timer);
      worker.terminate();
      resolve(new Set(data));
    };
    worker.postMessage({ expression, names });
  });
}

export class PatternError extends Error {}
