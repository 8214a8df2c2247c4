"""Takes the README's pictures of a report or of the chat page, in Chromium.

    python scripts/pictures.py results/report.html docs/images
    python scripts/pictures.py http://127.0.0.1:7860 docs/images

Writes `report.png` (a desk's width, the top of the page), `report-dark.png` (the same in dark) and
`report-phone.png`; of a chat page that `make chat` has opened, `chat.png`: a question of the suite
to the tuned and the untuned model side by side. Needs playwright (in requirements-dev.txt) and the
system's Chromium.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Name, width, height, device pixels per pixel, colour scheme.
PICTURES = (
    ("report.png", 1440, 1080, 1, "light"),
    ("report-dark.png", 1440, 1080, 1, "dark"),
    ("report-phone.png", 390, 844, 2, "light"),
)

QUESTION = "juhe.cn的备案信息查一下"
ANSWER_SECONDS = 600


def take_pictures(browser: Any, report: Path, folder: Path) -> list[Path]:
    """Writes the pictures with an opened browser of playwright, and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, width, height, scale, scheme in PICTURES:
        page = browser.new_page(
            viewport={"width": width, "height": height},
            device_scale_factor=scale,
            color_scheme=scheme,
        )
        page.goto(report.resolve().as_uri())
        page.wait_for_function("() => document.getElementById('count').textContent !== ''")
        page.screenshot(path=folder / name)
        page.close()
    return [folder / name for name, *_ in PICTURES]


def take_chat_picture(browser: Any, address: str, folder: Path) -> list[Path]:
    """Asks both models and writes the picture of what they say."""
    folder.mkdir(parents=True, exist_ok=True)
    page = browser.new_page(viewport={"width": 1280, "height": 900}, locale="zh-CN")
    page.set_default_timeout(ANSWER_SECONDS * 1000)
    page.goto(address)
    page.locator("#title h2").wait_for()
    page.locator("#compare input").check()
    page.locator("#untuned").wait_for()
    page.locator("#question textarea").fill(QUESTION)
    page.locator("#send").click()
    page.locator("#send[disabled]").wait_for()
    page.locator("#send:not([disabled])").wait_for()
    page.screenshot(path=folder / "chat.png")
    page.close()
    return [folder / "chat.png"]


def main(shown: str, folder: Path) -> None:
    """Opens the system's browser and takes the pictures. SystemExit where there is none."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise SystemExit(f"No browser found (looked for {', '.join(BROWSERS)}). Install chromium.")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        pictures = (
            take_chat_picture(browser, shown, folder)
            if shown.startswith("http")
            else take_pictures(browser, Path(shown), folder)
        )
        print(*pictures, sep="\n")
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]))
