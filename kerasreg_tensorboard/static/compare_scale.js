// The scales of the chart: from numbers to places, with ticks at round numbers.

const MARGIN = 0.04; // of the length, so that no point lies on an axis

// `[least, greatest]` of finite numbers, positive ones where `log`; `[from, to]` are places.
export function makeScale([least, greatest], [from, to], log, count) {
  const forth = log ? Math.log10 : (value) => value;
  const back = log ? (value) => 10 ** value : (value) => value;
  const [low, high] = padded(forth(least), forth(greatest), log);
  const place = (value) => from + ((forth(value) - low) / (high - low)) * (to - from);
  const ticks = (log && logTicks(low, high, count)) || linearTicks(back(low), back(high), count);
  return { place, ticks };
}

function padded(low, high, log) {
  const one = log ? 0.5 : 0.1 * Math.abs(high) || 1; // around a single number
  const margin = high > low ? MARGIN * (high - low) : one;
  return [low - margin, high + margin];
}

function linearTicks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((multiple) => multiple * power >= rough * 0.999) * power;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  if (last <= first) return linearTicks(low, high, 2 * count); // one tick tells no scale
  const values = range(first, last).map((i) => i * step);
  return values.map((value) => ({ value: Number(value.toPrecision(12)), step }));
}

// Powers of ten, with 2 and 5 between them where there is room; null where that gives too few.
function logTicks(low, high, count) {
  const powers = range(Math.floor(low), Math.ceil(high));
  const seen = (value) => Math.log10(value) >= low && Math.log10(value) <= high;
  for (const parts of [[1, 2, 5], [1, 3], [1]]) {
    const values = powers.flatMap((power) => parts.map((part) => Number(`${part}e${power}`)));
    const shown = values.filter(seen);
    if (shown.length > 1 && shown.length <= count) return shown.map((value) => ({ value }));
  }
  const decades = powers.map((power) => Number(`1e${power}`)).filter(seen);
  if (decades.length < 2) return null;
  const every = Math.ceil(decades.length / count);
  return decades.filter((_, i) => i % every === 0).map((value) => ({ value }));
}

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 2 });

// A tick as text: as many digits as tell it from its neighbours.
export function tickText({ value, step }, asPercent) {
  if (asPercent) return `${(100 * value).toFixed(digitsOf(100 * (step ?? value)))}%`;
  const size = Math.abs(value);
  if (size >= 1e15) return value.toExponential();
  if (size >= 1e4) return step && step < 10 ? String(Math.round(value)) : compact.format(value);
  if (value !== 0 && size < 1e-3) return String(Number(value.toPrecision(6)).toExponential());
  return step ? value.toFixed(digitsOf(step)) : String(value);
}

const digitsOf = (step) => Math.min(Math.max(0, -Math.floor(Math.log10(step) + 1e-9)), 12);
