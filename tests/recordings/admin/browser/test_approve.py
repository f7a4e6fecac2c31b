"""The approvals page in a real browser: log in, see, decide, while a real psql waits."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.recordings.admin.browser.conftest import PATIENCE, Lab, ended, other_site, rows

expect.set_options(timeout=PATIENCE)
pytestmark = pytest.mark.timeout(300)


def review(page: Page, table: str) -> str:
    """From the queue to the approval of the statement on `table`; its id."""
    card = page.locator("li.card", has_text=table)
    card.get_by_role("link", name=re.compile("Review|Look")).click()
    page.wait_for_url("**/approvals/*-*")
    return page.url.rpartition("/")[2]


def approve(page: Page) -> None:
    """As a reader does it: to the end of the text, then the button."""
    page.locator("#end").scroll_into_view_if_needed()
    page.get_by_role("button", name="Approve once").click()


def test_a_delete_in_psql_runs_when_it_is_approved_on_the_page(lab: Lab, table: str) -> None:
    page = lab.log_in("dana", viewport={"width": 900, "height": 760}, reduced_motion="reduce")
    expect(page.locator("#empty")).to_be_visible()
    psql = lab.psql(f"DELETE FROM {table} WHERE id <= 3")
    expect(page.locator("li.card", has_text=table)).to_be_visible()  # without a reload by hand
    lab.picture(page, "approvals-queue")
    review(page, table)
    expect(page.locator(".fence").first).to_have_text(f"DELETE FROM {table} WHERE id <= 3")
    expect(page.locator("h1")).to_have_text("devin for alice@example.com on orders")
    expect(page.locator(".countdown")).to_have_text(re.compile(r"\d:\d\d left"))
    assert rows(lab, table) == 10
    lab.picture(page, "approval")
    page.get_by_label("Reason").fill("window of 14:00")
    page.keyboard.press("Tab")
    page.get_by_text("binds to").scroll_into_view_if_needed()
    expect(page.get_by_role("button", name="Approve once")).to_be_enabled()
    lab.picture(page, "approval-decide")
    approve(page)
    assert ended(psql)[:2] == (0, "DELETE 3")
    assert rows(lab, table) == 7
    page.reload()
    expect(page.locator("#state")).to_have_text("used")


def test_a_refusal_with_its_reason_reaches_psql(lab: Lab, table: str) -> None:
    psql = lab.psql(f"DELETE FROM {table}")
    page = lab.log_in("dana")
    review(page, table)
    page.get_by_label("Reason").fill("not on a Friday")
    page.get_by_role("button", name="Refuse").click()
    status, _, errors = ended(psql)
    assert status == 1
    assert "not on a Friday" in errors
    assert rows(lab, table) == 10
    expect(page.locator("#state")).to_have_text("refused")


def test_an_expiry_is_seen_while_the_page_is_open(lab: Lab, table: str) -> None:
    page = lab.log_in("dana")
    psql = lab.psql(f"DELETE FROM {table} /*soon over*/")
    review(page, table)
    expect(page.locator("#state")).to_have_text("expired")
    expect(page.locator("#news")).to_contain_text("expired")
    for button in page.locator("#decide button").all():
        expect(button).to_be_disabled()
    assert ended(psql)[0] == 1
    assert rows(lab, table) == 10


def test_the_second_of_two_browsers_is_told_that_it_came_late(lab: Lab, table: str) -> None:
    psql = lab.psql(f"DELETE FROM {table} WHERE id = 1")
    first, second = lab.log_in("dana"), lab.log_in("dora")
    silent = lab.log_in("dora", java_script_enabled=False)
    id = review(first, table)
    second.goto(f"{lab.origin}/approvals/{id}")
    silent.goto(f"{lab.origin}/approvals/{id}")
    second.locator("#end").scroll_into_view_if_needed()
    expect(second.get_by_role("button", name="Approve once")).to_be_enabled()
    second.wait_for_function("document.body.dataset.live === 'yes'")
    approve(first)
    assert ended(psql)[:2] == (0, "DELETE 1")
    expect(second.locator("#news")).to_contain_text("now")
    expect(second.locator("#decide button").first).to_be_disabled()
    silent.get_by_role("button", name="Approve once").click()
    expect(silent.get_by_text("Nothing was decided by you")).to_be_visible()
    assert rows(lab, table) == 9


def test_without_javascript_it_works_too(lab: Lab, table: str) -> None:
    psql = lab.psql(f"DELETE FROM {table} WHERE id = 2")
    page = lab.log_in("dana", java_script_enabled=False)
    review(page, table)
    page.get_by_role("button", name="Approve once").click()
    assert ended(psql)[:2] == (0, "DELETE 1")


def test_it_works_by_keyboard_alone(lab: Lab, table: str) -> None:
    psql = lab.psql(f"DELETE FROM {table} WHERE id = 3")
    page = lab.log_in("dana")
    expect(page.locator("li.card", has_text=table)).to_be_visible()

    def tab_to(text: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent").strip() == text:
                return
        raise AssertionError(f"no way to {text} by keyboard")

    tab_to("Review")
    page.keyboard.press("Enter")
    page.wait_for_url("**/approvals/*-*")
    page.keyboard.press("End")
    expect(page.get_by_role("button", name="Approve once")).to_be_enabled()
    tab_to("Approve once")
    page.keyboard.press("Enter")
    assert ended(psql)[:2] == (0, "DELETE 1")


def test_a_long_statement_is_read_to_its_end_before_the_button_works(lab: Lab, table: str) -> None:
    text = f"/*held*/ /*{table}*/ SELECT\n" + "".join(f"  {n} AS column_{n},\n" for n in range(60)) + "  'last' AS z"
    psql = lab.psql(text)
    page = lab.log_in("dana", viewport={"width": 800, "height": 500})
    review(page, table)
    button = page.get_by_role("button", name="Approve once")
    if page.locator("#unread").count():  # more than one page of it
        expect(button).to_have_count(0)
        page.locator("#unread a.button").click()
    expect(button).to_be_disabled()
    expect(page.locator("#scroll")).to_be_attached()
    page.locator("#end").scroll_into_view_if_needed()
    expect(button).to_be_enabled()
    button.click()
    assert ended(psql)[0] == 0


def test_it_is_readable_on_a_phone_and_in_the_dark(lab: Lab, table: str) -> None:
    psql = lab.psql(f"DELETE FROM {table} WHERE note = 'аdmin\u202e' OR id > 5")
    page = lab.log_in("dana", viewport={"width": 390, "height": 800}, color_scheme="dark", has_touch=True)
    review(page, table)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    expect(page.locator(".warning").first).to_contain_text("turn text around")
    expect(page.locator("mark.odd-turned").first).to_have_text("⟨U+202E⟩")
    lab.picture(page, "approval-phone")
    size = page.get_by_role("button", name="Refuse").bounding_box()
    assert size is not None
    assert size["height"] >= 44
    page.get_by_label("Reason").fill("no")
    page.get_by_role("button", name="Refuse").click()
    assert ended(psql)[0] == 1


def test_markup_in_statements_and_names_does_nothing(lab: Lab, table: str) -> None:
    attack = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'
    psql = lab.psql(f"DELETE FROM {table} WHERE '{attack}' <> ''", subject='"><svg onload=window.pwned=1>')
    page = lab.log_in("dana")
    review(page, table)
    expect(page.locator(".fence").first).to_contain_text(attack)
    assert page.locator("main img, main script, main svg").count() == 0
    assert page.evaluate("window.pwned") is None
    page.get_by_label("Reason").fill(attack)
    page.get_by_role("button", name="Refuse").click()
    assert ended(psql)[0] == 1
    expect(page.locator("#state")).to_have_text("refused")
    auditor = lab.log_in("ada", path="/runs")
    auditor.locator("tbody a").last.click()
    assert auditor.locator("main img, main script, main svg").count() == 0
    auditor.get_by_role("link", name="record").last.click()
    expect(auditor.locator("#leaf-hash")).to_have_text(re.compile("^[0-9a-f]{64}$"))
    assert auditor.evaluate("window.pwned") is None
    lab.picture(auditor, "record")


def test_another_sites_form_decides_nothing(lab: Lab, table: str) -> None:
    psql = lab.psql(f"DELETE FROM {table}")
    page = lab.log_in("dana")
    id = review(page, table)
    token = page.locator('#decide input[name="form_token"]').get_attribute("value")
    seen = page.locator('#decide input[name="seen"]').get_attribute("value")
    html = f"""<form method="post" action="{lab.origin}/approvals/{id}/decide" id="f">
    <input name="form_token" value="{token}"><input name="seen" value="{seen}"><input name="decision" value="approve">
    <input name="reason" value=""></form><script>document.getElementById("f").submit()</script>"""
    with other_site(html) as port:
        for host in ("localhost", "127.0.0.1"):  # another site; and the same site, where the cookie is sent
            evil = page.context.new_page()
            evil.goto(f"http://{host}:{port}/")
            evil.wait_for_url(f"{lab.origin}/**")
            expect(evil.locator("body")).to_contain_text("does not come from a page of this site")
    assert psql.poll() is None
    assert rows(lab, table) == 10
    page.get_by_label("Reason").fill("no")
    page.get_by_role("button", name="Refuse").click()
    assert ended(psql)[0] == 1


def test_no_other_page_can_put_it_into_a_frame(lab: Lab, table: str) -> None:
    psql = lab.psql(f"DELETE FROM {table}")
    page = lab.log_in("dana")
    id = review(page, table)
    with other_site(f'<iframe src="{lab.origin}/approvals/{id}" width="800" height="800"></iframe>') as port:
        evil = page.context.new_page()
        evil.goto(f"http://127.0.0.1:{port}/")
        evil.wait_for_load_state("networkidle")
        assert all(frame.locator("button").count() == 0 for frame in evil.frames)
    page.get_by_label("Reason").fill("no")
    page.get_by_role("button", name="Refuse").click()
    assert ended(psql)[0] == 1


def test_an_operator_ends_a_run_from_the_page(lab: Lab, table: str) -> None:
    psql = lab.psql(f"DELETE FROM {table}", subject="runaway")
    page = lab.log_in("olga")
    review(page, table)
    page.get_by_role("link", name="Kill the run").click()
    page.get_by_label("Reason").fill("it deletes everything")
    page.get_by_role("button", name="Kill").click()
    expect(page.locator("#kills")).to_contain_text("it deletes everything")
    assert ended(psql)[0] != 0
    assert rows(lab, table) == 10
    page.get_by_role("button", name="Lift").click()
    expect(page.locator("#kills")).to_have_count(0)


def test_a_logout_ends_the_session(lab: Lab) -> None:
    page = lab.log_in("eve")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Logged out")).to_be_visible()
    page.goto(lab.origin + "/approvals")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
