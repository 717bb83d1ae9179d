"""A real Chromium, and everything that it did and was kept from doing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect, sync_playwright

REQUIRED: Final = os.environ.get("SECAGG_REQUIRE_BROWSER") == "1"
"""Whether a machine without Chromium fails these tests, instead of passing them over."""

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_RECORD_VIOLATIONS: Final = """
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => {
      window.violations.push(event.effectiveDirective);
    });
"""

expect.set_options(timeout=20_000)  # a busy machine is no failure


@dataclass(slots=True)
class Visit:
    """One page. ``requested``: every address that it asked for. ``complaints``: errors that the
    browser has logged.
    """

    page: Page
    requested: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def violations(self) -> list[str]:
        """The directives of its Content-Security-Policy that something was against."""
        found: list[str] = self.page.evaluate("window.violations")
        return found

    def text(self, selector: str) -> str:
        """What is to be read there."""
        return self.page.inner_text(selector)

    def fits(self, width: int) -> bool:
        """Whether nothing must be scrolled sideways in a window of this width."""
        self.page.set_viewport_size({"width": width, "height": 800})
        wide: int = self.page.evaluate("document.documentElement.scrollWidth")
        return wide <= width


@contextmanager
def visiting(**options: Any) -> Iterator[Visit]:
    """An empty page of a new Chromium, in a context with ``options``."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        assert not REQUIRED, "Chromium is required here: apt-get install chromium"
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        context = browser.new_context(**options)
        context.add_init_script(_RECORD_VIOLATIONS)
        visit = Visit(context.new_page())
        visit.page.on("request", lambda request: visit.requested.append(request.url))
        visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        visit.page.on(
            "console",
            lambda said: visit.complaints.append(said.text) if said.type == "error" else None,
        )
        try:
            yield visit
        finally:
            browser.close()
