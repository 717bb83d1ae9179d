"""The page at / of real nodes, in a real Chromium."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import safetensors
import trio
from playwright.sync_api import Route, expect

from party.rehearsal import LossPoint
from tests.integration.browser import Visit, visiting
from tests.integration.lone_node import lone_node
from tests.integration.posting import HOSPITALS, Posting, patient, posting

ANNA, BERTA, CLARA = HOSPITALS
PHONE = 360
TOKEN = "the-token-of-a-test"
FOCUSED = """(() => {
    const { id, ariaLabel, localName } = document.activeElement;
    const number = [...document.querySelectorAll("*")].indexOf(document.activeElement);
    return [number, id ? `#${id}` : ariaLabel || localName];
})()"""
LINES_OF_STEPS = """[...document.querySelectorAll("#steps li")].map((each) => {
    const text = document.createRange();
    text.selectNodeContents(each);
    return text.getClientRects().length;
})"""
HOSTILE = "<img src=x onerror='window.injected = 1'><script>window.injected = 1</script>"


def shown(visit: Visit, url: str) -> None:
    """Open the page, and wait until it shows what the node says."""
    visit.page.goto(url)
    expect(visit.page.locator("#panels")).to_be_visible()


async def one_round(made: Posting, number: int) -> None:
    """Everybody posts for round ``number``, and has its result; who is lost comes back."""

    async def post(name: str) -> None:
        body = made.body(name, number, [patient(10 * number + i) for i in range(8)])
        while True:
            try:
                answer = await made.post(name, body)
            except requests.ConnectionError:
                await made.lost(name)
                await made.join(name)
            else:
                assert answer.status_code == 200, answer.text
                if "model_hash" in answer.json():
                    return

    async with trio.open_nursery() as nursery:
        for name in HOSPITALS:
            nursery.start_soon(post, name)


async def test_the_page_shows_what_the_node_says_and_nothing_gets_in_or_out(
    tmp_path: Path,
) -> None:
    async with posting(tmp_path, timeout=240) as made:
        await made.serve(stage_deadline=3, gathering_window=2)
        await made.join(ANNA, BERTA)
        await made.join(CLARA, lost=(LossPoint.SHARE_KEYS, 2))
        for number in (1, 2):  # the second one is charged twice, since an attempt comes to nothing
            await one_round(made, number)

        def another_round() -> None:
            trio.from_thread.run(one_round, made, 5)

        def stop() -> None:
            trio.from_thread.run(made.leave, ANNA)

        await trio.to_thread.run_sync(look, made.url(ANNA), tmp_path, another_round, stop)


def look(
    url: str, pictures: Path, another_round: Callable[[], None], stop: Callable[[], None]
) -> None:
    with visiting(viewport={"width": 1200, "height": 900}, color_scheme="light") as visit:
        shown(visit, url)
        shows_state_budget_rounds_and_audit_head(visit, url)
        visit.page.screenshot(path=pictures / "light.png", full_page=True)
        visit.page.emulate_media(color_scheme="dark")
        visit.page.screenshot(path=pictures / "dark.png", full_page=True)
        is_used_without_a_mouse(visit)
        hands_out_a_model(visit, url)
        another_round()
        shows_a_new_round_by_itself(visit)
        assert all(visit.fits(width) for width in (1200, 800, PHONE))
        for width in (1600, 1000, 900, 700, PHONE):
            visit.page.set_viewport_size({"width": width, "height": 900})
            assert visit.page.evaluate(LINES_OF_STEPS) == [1] * 6, width  # no word is cut
        visit.page.screenshot(path=pictures / "phone.png", full_page=True)
        assert visit.violations() == []
        assert visit.complaints == []
        assert {urlsplit(each.removeprefix("blob:")).netloc for each in visit.requested} == {
            urlsplit(url).netloc
        }
        lets_no_script_in_and_no_request_out(visit)
        cannot_be_framed(visit, url)
        shown(visit, url)
        stop()
        expect(visit.page.locator("#unreachable")).to_be_visible(timeout=20_000)
        expect(visit.page.locator("#unreachable")).to_contain_text("See whether its process runs")
        expect(visit.page.locator("#connection")).to_have_text("No answer")


def shows_state_budget_rounds_and_audit_head(visit: Visit, url: str) -> None:
    status, budget, rounds, head = (
        requests.get(url + path, timeout=30).json()
        for path in ("/status", "/privacy-budget", "/rounds", "/audit/head")
    )
    page = visit.page
    assert page.title() == "anna · secagg node"
    assert visit.text("h1") == "anna"
    assert visit.text("#connection") == "Connected to the server"
    assert visit.text("#now-round") == "Round 2 closed"
    assert "No batch waits" in visit.text("#now-state")
    assert status["model_hash"][:12] in visit.text("#now-facts")
    assert f"{100 - budget['percentage_used']:.0f} %" in visit.text("#budget-left")
    assert page.locator("#problem").is_hidden()

    charges = budget["history"]
    assert [charge["model_hash"] is None for charge in charges] == [False, True, False]
    assert page.locator("#chart circle").count() == 3
    assert page.locator("#chart circle.out").count() == 1
    heights = [
        float(circle.get_attribute("cy") or "") for circle in page.locator("#chart circle").all()
    ]
    assert heights == sorted(heights, reverse=True), "the more is spent, the higher"
    assert "Round 2 raised ε by" in visit.text("#chart-reading")

    rows = page.locator("#rounds tr")
    assert rows.count() == len(rounds) == 2
    for row, record in zip(rows.all(), rounds, strict=True):
        text = row.inner_text()
        assert str(record["round"]) in text
        assert record["model_hash"][:12] in text
        assert record["status"] in text
        assert row.locator(f'[title="{record["model_hash"]}"]').count() == 1
    audit = visit.text("#audit-facts")
    assert head["hash"] in audit
    assert head["signature"][:64] in audit


def is_used_without_a_mouse(visit: Visit) -> None:
    page = visit.page
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    reached: dict[int, str] = {}
    while (found := page.evaluate(FOCUSED))[0] not in reached:
        number, place = found
        reached[number] = place
        if place == "#chart":
            newest = visit.text("#chart-reading")
            page.keyboard.press("ArrowLeft")
            assert "no model came of it" in visit.text("#chart-reading")
            page.keyboard.press("Home")
            assert "Round 1 raised" in visit.text("#chart-reading")
            page.keyboard.press("End")
            assert visit.text("#chart-reading") == newest
        if place == "summary":
            expect(page.locator("#charges")).to_be_hidden()
            page.keyboard.press("Enter")
            expect(page.locator("#charges")).to_be_visible()
            assert page.locator("#charges tr").count() == 3
        page.keyboard.press("Tab")
    assert {"#chart", "summary", "All charges", "#rounds-table", "a"} <= set(reached.values())
    assert any(place.startswith("Copy") for place in reached.values())
    assert any(place.startswith("Download the model") for place in reached.values())


def hands_out_a_model(visit: Visit, url: str) -> None:
    with visit.page.expect_download() as waiting:
        visit.page.locator("#rounds button[title^=Download]").first.click()
    download = waiting.value
    with safetensors.safe_open(download.path(), "np") as file:
        metadata = file.metadata()
    assert metadata["round"] == "2"
    assert download.suggested_filename == f"{metadata['model_hash']}.safetensors"
    newest = requests.get(f"{url}/status", timeout=30).json()
    assert metadata["model_hash"] == newest["model_hash"]


def shows_a_new_round_by_itself(visit: Visit) -> None:
    expect(visit.page.locator("#now-round")).to_have_text("Round 5 closed")
    expect(visit.page.locator("#rounds tr").first).to_contain_text("5")
    expect(visit.page.locator("#chart circle")).to_have_count(4)


def lets_no_script_in_and_no_request_out(visit: Visit) -> None:
    """What an injection would try; none of it can happen."""
    tried: dict[str, Any] = visit.page.evaluate(
        """async () => {
          // The browser lets the tester's own script use eval until it first gives way.
          await new Promise((resolve) => setTimeout(resolve, 0));
          const outcome = {};
          const run = async (name, attempt) => {
            outcome[name] = "done";
            try { await attempt(); } catch (error) { outcome[name] = error.name; }
          };
          await run("markup", () => { document.body.innerHTML = "<p>injected</p>"; });
          await run("script", () => {
            const script = document.createElement("script");
            script.append("window.injected = 1");
            document.body.append(script);
          });
          await run("handler", () => {
            const image = new Image();
            image.setAttribute("onerror", "window.injected = 1");
          });
          await run("style", () => document.body.setAttribute("style", "display: none"));
          await run("eval", () => eval("window.injected = 1"));
          await run("fetch", () => fetch("http://127.0.0.1:9/secret"));
          await run("image", () => new Promise((resolve, reject) => {
            const image = new Image();
            image.onerror = reject;
            image.src = "http://127.0.0.1:9/secret.png";
          }));
          return { ...outcome, injected: window.injected ?? null };
        }"""
    )
    assert tried["injected"] is None
    assert tried["markup"] == tried["handler"] == "TypeError"
    assert tried["eval"] == "EvalError"
    assert tried["fetch"] == "TypeError"
    assert tried["image"] != "done"
    assert set(visit.violations()) >= {
        "require-trusted-types-for",
        "style-src-attr",
        "connect-src",
        "img-src",
    }
    assert visit.page.evaluate("getComputedStyle(document.body).display") == "block"


def cannot_be_framed(visit: Visit, url: str) -> None:
    visit.page.goto("about:blank")
    visit.page.set_content(f'<iframe src="{url}/"></iframe>')
    (frame,) = visit.page.main_frame.child_frames
    frame.wait_for_load_state()
    assert frame.locator("#panels").count() == 0


@pytest.fixture
def token_hash_file(tmp_path: Path) -> Path:
    path = tmp_path / "token.sha256"
    path.write_text(hashlib.sha256(TOKEN.encode()).hexdigest())
    path.chmod(0o600)
    return path


def test_the_page_asks_for_a_token_and_keeps_it_in_its_tab(
    tmp_path: Path, token_hash_file: Path
) -> None:
    with (
        lone_node(tmp_path, api__token_hash_file=str(token_hash_file)) as node,
        visiting() as visit,
    ):
        page = visit.page
        page.goto(node.url)
        expect(page.locator("#token")).to_be_focused()
        assert page.locator("#panels").is_hidden()
        assert page.locator("#refused").is_hidden()
        page.keyboard.type("another token")
        page.keyboard.press("Enter")
        expect(page.locator("#refused")).to_be_visible()
        assert page.locator("#panels").is_hidden()
        page.fill("#token", TOKEN)
        page.screenshot(path=tmp_path / "token.png")
        page.keyboard.press("Enter")
        expect(page.locator("#panels")).to_be_visible()
        assert page.input_value("#token") == ""
        assert page.evaluate("localStorage.length") == 0
        assert page.evaluate("document.cookie") == ""
        page.reload()
        expect(page.locator("#panels")).to_be_visible()
        page.screenshot(path=tmp_path / "empty.png", full_page=True)
        assert page.evaluate("location.href") == f"{node.url}/"
        assert not any(TOKEN in address for address in visit.requested)
        assert page.locator(".reference:visible").count() == 0, "a link shows no token"
        assert "tries again by itself" in visit.text("#now-state")
        page.click("#forget")
        expect(page.locator("#sign-in")).to_be_visible()
        assert page.evaluate("sessionStorage.length") == 0
        assert page.locator("#refused").is_hidden()
        assert visit.violations() == []


def test_no_text_is_taken_for_markup(tmp_path: Path) -> None:
    """Whatever stands in a name, a problem or any other answer: it is shown as it is."""
    with lone_node(tmp_path) as node, visiting() as visit:

        def hostile(route: Route) -> None:
            response = route.fetch()
            answer = with_texts(response.json())
            if "problem" in answer:
                answer |= {
                    "problem": HOSTILE,
                    "round": 3,
                    "rounds": [{"round": 3, "participants": [HOSTILE]}],
                }
            if "history" in answer:
                charge = dict.fromkeys(("epsilon_spent", "epsilon_total_used"), 0.1)
                more = {"round": 3, "epsilon_remaining": 0.9, "timestamp": "2026-01-01T00:00:00Z"}
                answer |= {"warning": HOSTILE, "history": [charge | more | {"model_hash": HOSTILE}]}
            route.fulfill(response=response, json=answer)

        def hostile_rounds(route: Route) -> None:
            record = dict.fromkeys(("patients_submitted", "data_size_encrypted"), 7)
            texts = dict.fromkeys(("status", "model_hash", "submission_time"), HOSTILE)
            more = {"round": 3, "submission_latency": 1.0, "privacy_epsilon_used": 0.1}
            route.fulfill(json=[record | texts | more])

        for path in ("/status", "/privacy-budget", "/audit/head"):
            visit.page.route(node.url + path, hostile)
        visit.page.route(f"{node.url}/rounds", hostile_rounds)
        shown(visit, node.url)
        visit.page.click("summary")
        places = ("h1", "#problem-text", "#budget-warning", "#rounds .pill")
        assert [visit.text(place) for place in places] == [HOSTILE] * len(places)
        assert visit.text("#now-state").startswith(HOSTILE)
        assert HOSTILE in visit.page.title()
        assert HOSTILE[:60] in visit.text("#audit-facts")
        assert visit.page.locator("main img, main script").count() == 0
        assert visit.page.evaluate("window.injected ?? null") is None
        assert visit.violations() == []


def test_a_script_within_the_page_itself_does_not_run(tmp_path: Path) -> None:
    """Even if somebody brought markup into the page: its policy has no room for it."""
    injected = (
        f"{HOSTILE}<style>body {{ display: none }}</style>"
        '<script src="http://127.0.0.1:9/x.js"></script>'
        '<form action="http://127.0.0.1:9/"><input name="token"></form><base href="http://x/">'
    )
    with lone_node(tmp_path) as node, visiting() as visit:

        def with_markup(route: Route) -> None:
            response = route.fetch()
            changed = response.text().replace("<main", f"{injected}<main")
            route.fulfill(response=response, body=changed)

        visit.page.route(f"{node.url}/", with_markup)
        shown(visit, node.url)
        assert visit.page.evaluate("window.injected ?? null") is None
        expect(visit.page.locator("h1")).to_be_visible()
        visit.page.evaluate("document.forms[0].submit()")
        visit.page.wait_for_function("window.violations.includes('form-action')")
        assert set(visit.violations()) >= {
            "script-src-attr",
            "script-src-elem",
            "style-src-elem",
            "form-action",
            "base-uri",
        }
        assert visit.page.evaluate("location.href") == f"{node.url}/"


def with_texts(answer: dict[str, Any]) -> dict[str, Any]:
    """``answer`` with something hostile in the place of each text."""
    return {key: HOSTILE if isinstance(value, str) else value for key, value in answer.items()}
