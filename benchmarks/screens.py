"""Pictures of every tab of the page, light and dark, wide and narrow, in runs/screens/: `python -m benchmarks.screens`.

Says where something is wider than its window, and what the browser complains of. To be looked at, by eye.
"""

import sys
from pathlib import Path
from typing import Any

from benchmarks.page import browser, page
from core.files import make_folder

LOOKS = (("light", 1200), ("light", 390), ("light", 320), ("dark", 1200), ("dark", 390))
FOLDER = Path("runs/screens")


def visit(tab: Any, address: str, look: str) -> None:
    """Go through the tabs as a visitor does, with a picture of each state."""

    def shot(what: str) -> None:
        tab.wait_for_timeout(600)
        tab.screenshot(path=FOLDER / f"{what}-{look}.png", full_page=True)
        if (wider := tab.evaluate("document.documentElement.scrollWidth - innerWidth")) > 0:
            print(f"{what}-{look}: {wider} px wider than the window")

    tab.goto(address)
    tab.locator(".sb-record").first.wait_for()
    shot("first")
    tab.keyboard.press("Space")
    tab.wait_for_timeout(5500)
    shot("speaking")
    tab.keyboard.press("Space")
    tab.locator(".sb-views").wait_for()
    tab.locator(".sb-sound summary").click()
    shot("speak")
    tab.locator(".sb-swap", has_text="yellow").click()
    tab.locator("#sb-vary .sb-chip:visible", has_text="blue").click()
    tab.locator(".sb-pair").first.wait_for()
    tab.locator("#sb-walk button").first.click()
    tab.locator("#sb-walk textarea, #sb-walk input").first.fill(
        "a blue bird with a white belly and grey wings"
    )
    tab.locator("#sb-go").click()
    tab.locator(".sb-strip").wait_for()
    shot("vary")
    tab.get_by_role("tab", name="Type").click()
    tab.locator("#sb-sentence textarea").fill("a scarlet bird with a zyzzy beek")
    tab.locator("#sb-offers button").first.wait_for()
    shot("type")
    tab.get_by_role("tab", name="Find").click()
    tab.locator("#sb-wanted textarea, #sb-wanted input").first.fill("a small yellow bird with a black head")
    tab.locator("#sb-find").click()
    tab.locator(".sb-found li").first.wait_for()
    shot("find")
    tab.get_by_role("tab", name="Models").click()
    shot("models")


def main() -> None:
    make_folder(FOLDER)
    with page() as (address, _), browser() as chromium:
        for scheme, width in LOOKS:
            context = chromium.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme, permissions=["microphone"]
            )
            tab = context.new_page()
            tab.set_default_timeout(120_000)
            tab.on("pageerror", lambda error: print("the browser:", str(error)[:300], file=sys.stderr))
            visit(tab, address, f"{scheme}-{width}")
            context.close()
    print(f"{FOLDER}: {len(list(FOLDER.glob('*.png')))} pictures")


if __name__ == "__main__":
    main()
