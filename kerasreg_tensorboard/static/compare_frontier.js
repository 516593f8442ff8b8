// The runs that no other run beats: none is at least as good in both numbers and better in one.

const SIGNS = { higher: 1, lower: -1 };

// `places` are `{x, y}`, the sides `"higher"`, `"lower"` or `"neither"`. Returns the places of the
// frontier in the order of x, from the best on; none where a side has no better end.
export function frontier(places, betterX, betterY) {
  const [signX, signY] = [SIGNS[betterX], SIGNS[betterY]];
  if (!signX || !signY) return [];
  const sorted = [...places].sort((a, b) => signX * (b.x - a.x) || signY * (b.y - a.y));
  const found = [];
  for (const place of sorted) {
    const last = found.at(-1);
    const isEqual = last && place.x === last.x && place.y === last.y;
    if (!last || isEqual || signY * (place.y - last.y) > 0) found.push(place);
  }
  return found;
}
