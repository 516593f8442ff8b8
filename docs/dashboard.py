"""Takes the README's pictures of TensorBoard, in a headless Chromium.

    python docs/dashboard.py [dashboard] [sparsity_tab] [hparams]

trains what the pictures show first, where its log is not there yet. Each is taken at 1500 pixels
and, as `<name>_800.png`, at 800.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from helpers.dashboard import (  # noqa: E402
    chromium,
    colourful_pixels,
    find_all,
    open_sparsity_tab,
    tensorboard,
    wait_for,
)
from selenium.webdriver.support.select import Select  # noqa: E402

from kerasreg.tensorboard.show import FIRST_TAB  # noqa: E402

WIDTHS = {1500: "", 800: "_800"}


def take_dashboard(browser, address: str) -> None:
    """The first screen of Custom Scalars, once each of its charts has its lines."""
    browser.get(address + FIRST_TAB)
    wait_for(browser, lambda _: find_all(browser, "vz-line-chart2"), 120)

    def drawn(_):
        for chart in find_all(browser, "vz-line-chart2"):
            browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
            if colourful_pixels(chart.screenshot_as_png) < 300:
                return False
        return True

    wait_for(browser, drawn, 120)
    first = find_all(browser, "tf-category-paginated-view")[0]
    browser.execute_script("arguments[0].scrollIntoView({block: 'start'})", first)
    time.sleep(2)


def take_sparsity_tab(browser, address: str) -> None:
    """A run in our own tab, with the picture of its network."""
    open_sparsity_tab(browser, address, "run")
    run = Select(browser.find_element("id", "run"))
    run.select_by_value("GroupLasso, Proximal")
    browser.find_element("css selector", "#run-view details summary").click()
    time.sleep(8)


def take_hparams(browser, address: str) -> None:
    """Parallel coordinates."""
    browser.get(f"{address}/#hparams")
    time.sleep(6)
    tabs = [tab for tab in find_all(browser, "paper-tab") if "PARALLEL" in tab.text]
    tabs[0].click()
    time.sleep(2)
    scales = find_all(browser, "vaadin-radio-button, paper-radio-button")
    logarithmic = [scale for scale in scales if "Logarithmic" in scale.text]
    logarithmic[0].click()  # of the strength
    time.sleep(6)


# What is taken, of which example's runs, how high.
PICTURES = {
    "dashboard": (take_dashboard, "quickstart", 900),
    "sparsity_tab": (take_sparsity_tab, "quickstart", 900),
    "hparams": (take_hparams, "sweep", 1050),
}


def main() -> None:
    """Takes all pictures, or those that are named."""
    os.chdir(ROOT)  # TensorBoard shows the folder as it is given.
    for name in sys.argv[1:] or PICTURES:
        take, example, height = PICTURES[name]
        logs = Path("tensorboard_logs", example)
        if not logs.exists():
            subprocess.run([sys.executable, ROOT / "examples" / f"{example}.py"], check=True)
        with tensorboard(logs) as address:
            for width, suffix in WIDTHS.items():
                with chromium(width, height) as browser:
                    take(browser, address)
                    browser.save_screenshot(str(ROOT / "docs" / f"{name}{suffix}.png"))


if __name__ == "__main__":
    main()
