"""Takes the README's pictures of TensorBoard, in a headless Chromium.

python examples/quickstart.py && python examples/sweep.py && python docs/dashboard.py
"""

import json
import sys
import time
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "tensorboard")]

from dashboard import chromium, find_all, tensorboard  # noqa: E402

CHARTS = ("near_zero", "regularization_loss", "l2_norm", "data_loss", "val_data_loss", "penalty")


def save(browser, name: str) -> None:
    """Saves what the browser shows."""
    browser.save_screenshot(str(ROOT / "docs" / f"{name}.png"))


def take_overview(address: str) -> None:
    """The main charts of the quickstart, pinned."""
    pins = quote(json.dumps([{"plugin": "scalars", "tag": f"all/{chart}"} for chart in CHARTS]))
    with chromium(1500, 1140) as browser:
        browser.get(f"{address}/?smoothing=0&pinnedCards={pins}#timeseries")
        time.sleep(5)
        browser.find_element("xpath", "//button[contains(., 'Settings')]").click()
        time.sleep(5)
        save(browser, "dashboard")


def take_sparsity_tab(address: str) -> None:
    """The table of one of the sweep's runs."""
    with chromium(1500, 520) as browser:
        browser.get(f"{address}/#kerasreg_sparsity")
        time.sleep(8)
        save(browser, "sparsity_tab")


def take_hparams(address: str) -> None:
    """Parallel coordinates of the sweep."""
    with chromium(1500, 1050) as browser:
        browser.get(f"{address}/#hparams")
        time.sleep(6)
        tabs = [tab for tab in find_all(browser, "paper-tab") if "PARALLEL" in tab.text]
        tabs[0].click()
        time.sleep(2)
        scales = find_all(browser, "vaadin-radio-button, paper-radio-button")
        logarithmic = [scale for scale in scales if "Logarithmic" in scale.text]
        logarithmic[0].click()  # of the strength
        time.sleep(6)
        save(browser, "hparams")


def main() -> None:
    """Takes all pictures."""
    logs = ROOT / "tensorboard_logs"
    with tensorboard(logs / "quickstart") as address:
        take_overview(address)
    with tensorboard(logs / "sweep") as address:
        take_sparsity_tab(address)
        take_hparams(address)


if __name__ == "__main__":
    main()
