// Asks again every few seconds while the tab is seen, and never twice at a time.

const PAUSE_MS = 5000; // as often as TensorBoard itself reads the logs
const REST = 9; // a slow answer is followed by a pause nine times as long

// TensorBoard hides a tab by giving its frame no height.
const isSeen = () => !document.hidden && window.innerHeight > 0;

export function keepFresh(load) {
  let timer = null;
  let running = false;
  let again = false;

  async function refresh() {
    again = true;
    if (running) return;
    running = true;
    clearTimeout(timer);
    const start = performance.now();
    try {
      while (again) {
        again = false;
        await load();
      }
    } finally {
      running = false;
      const pause = Math.max(PAUSE_MS, REST * (performance.now() - start));
      timer = setTimeout(wake, pause);
    }
  }

  function wake() {
    timer = null;
    refreshIfDue();
  }

  function refreshIfDue() {
    if (timer === null && isSeen()) refresh();
  }

  window.addEventListener("resize", refreshIfDue);
  document.addEventListener("visibilitychange", refreshIfDue);
  refreshIfDue();
  return refresh;
}
