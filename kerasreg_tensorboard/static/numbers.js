// Numbers as text. The server writes NaN and the infinities as strings.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

const orName = (format) => (value) => (Number.isFinite(value) ? format(value) : nameOf(value));
const nameOf = (value) => String(value).replace("Infinity", "∞");

export const count = orName((value) => whole.format(value));
export const percent = orName((value) => `${(100 * value).toFixed(2)}%`);
export const short = orName((value) => {
  const rounded = Number(value.toPrecision(4));
  const isTiny = rounded !== 0 && Math.abs(rounded) < 1e-4;
  return isTiny ? rounded.toExponential() : String(rounded);
});
