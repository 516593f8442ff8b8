// See name_matcher.js.

onmessage = ({ data: { expression, names } }) =>
  postMessage(names.flatMap((name, i) => (expression.test(name) ? [i] : [])));
