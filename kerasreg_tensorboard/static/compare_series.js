// Which runs are points of one regularization path: the path logs each strength in a folder of its
// own, `<penalty> <strength>`, with both as hyper-parameters.

export const LARGEST_STYLE = 5; // the styles of paths are 1 to this

export function seriesOf(runs) {
  const paths = new Map();
  for (const run of runs) {
    const { penalty, strength } = run.hparams;
    if (typeof strength !== "number" || penalty === undefined) continue;
    const key = JSON.stringify([folderOf(run.name), penalty]);
    if (!paths.has(key)) paths.set(key, []);
    paths.get(key).push(run);
  }
  const several = [...paths].filter(([, points]) => points.length > 1).sort(byName);
  const penalties = several.map(([key]) => JSON.parse(key)[1]);
  const areDistinct = new Set(penalties).size === penalties.length;
  const series = several.map(([key, points], i) => ({
    label: areDistinct ? String(penalties[i]) : JSON.parse(key).filter(Boolean).join("/"),
    runs: points,
    isPath: true,
    style: Math.min(i + 1, LARGEST_STYLE),
  }));
  const inPaths = new Set(several.flatMap(([, points]) => points));
  const single = runs.filter((run) => !inPaths.has(run));
  return [...(single.length ? [{ runs: single, isPath: false, style: 0 }] : []), ...series];
}

const byName = ([a], [b]) => a.localeCompare(b, "en", { numeric: true });

const folderOf = (name) => name.slice(0, Math.max(name.lastIndexOf("/"), 0));
