"""Takes the README's picture of the quickstart's dashboard, in a headless Chromium.

python examples/quickstart.py && python docs/dashboard.py
"""

import json
import sys
import time
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "tensorboard"))

from dashboard import chromium, tensorboard  # noqa: E402

CHARTS = ("near_zero", "regularization_loss", "l2_norm", "data_loss", "val_data_loss", "penalty")


def main() -> None:
    """Opens the dashboard with the main charts pinned and saves a screenshot."""
    pins = quote(json.dumps([{"plugin": "scalars", "tag": f"all/{chart}"} for chart in CHARTS]))
    logs = ROOT / "tensorboard_logs" / "quickstart"
    with tensorboard(logs) as address, chromium(1500, 1140) as browser:
        browser.get(f"{address}/?smoothing=0&pinnedCards={pins}#timeseries")
        time.sleep(5)
        browser.find_element("xpath", "//button[contains(., 'Settings')]").click()
        time.sleep(5)
        browser.save_screenshot(str(ROOT / "docs" / "dashboard.png"))


if __name__ == "__main__":
    main()
