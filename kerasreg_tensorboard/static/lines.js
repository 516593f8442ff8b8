// The lines of the table in their order: those weights that pass the filters, sorted, and below a
// line for each group if they are grouped. An entry is a weight of the first run, the second, or of
// both, which have the same name.

export function join(first, second) {
  const others = new Map(second.map((weight) => [weight.name, weight]));
  const entries = first.map((weight) => ({ first: weight, second: others.get(weight.name), weight }));
  const known = new Set(first.map(({ name }) => name));
  const more = second.filter(({ name }) => !known.has(name));
  return [...entries, ...more.map((weight) => ({ second: weight, weight }))];
}

// `order` is null for the order of the model, or `{key, total, descending}` with the key of an entry
// and that of a group of entries.
export function linesOf(entries, { grouped, folded, order }) {
  const sorted = sort(entries, order, order?.key);
  if (!grouped) return sorted.map((entry) => ({ entry }));
  const groups = Map.groupBy(sorted, (entry) => groupOf(entry.weight));
  // Groups without a number to sort by stay in the order of the model.
  const inOrder = [...new Set(entries.map((entry) => groupOf(entry.weight)))];
  const all = inOrder.map((name) => ({ group: { name, entries: groups.get(name) } }));
  return sort(all, order, ({ group }) => order.total(group)).flatMap((line) => {
    const { name, entries: members } = line.group;
    return folded.has(name) ? [line] : [line, ...members.map((entry) => ({ entry, inGroup: true }))];
  });
}

// The path of the layer.
export const groupOf = ({ name }) => name.slice(0, Math.max(name.lastIndexOf("/"), 0));

// Tells the lines from each other.
export const keyOf = ({ entry, group }) =>
  group ? `group ${group.name}` : `weight ${entry.weight.name}`;

export function sort(items, order, key) {
  if (!order) return items;
  const sign = order.descending ? -1 : 1;
  const keyed = items.map((item) => [key(item), item]);
  return keyed.sort(([a], [b]) => compare(a, b, sign)).map(([, item]) => item);
}

const text = new Intl.Collator("en", { numeric: true });

// What is missing comes last in both directions.
function compare(a, b, sign) {
  if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b);
  if (typeof a === "string") return sign * text.compare(a, b);
  return sign * (a - b || 0); // two infinities are equal
}

const isMissing = (key) => key === undefined || key === "" || Number.isNaN(key);
