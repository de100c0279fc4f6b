"""The page in a real browser: by mouse and by keyboard, wide and at 360 pixels, light and dark, checked by axe."""

import io
import os
import shutil
import socket
import threading
import time

import pypdf
import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from melanomafusion.notice import NOT_A_MEDICAL_DEVICE

expect.set_options(timeout=30_000)  # two cores may have other work
# MELANOMAFUSION_BROWSER names a Chromium that must be there; without it one is looked for.
CHROMIUM = os.environ.get("MELANOMAFUSION_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; MELANOMAFUSION_BROWSER names one"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def address(app):
    """The app on a free port of this machine."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
    thread.start()
    end = time.monotonic() + 20
    while not server.started and time.monotonic() < end:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")], ids=str)
def any_page(browser, address, request):
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    yield page
    context.close()


@pytest.fixture
def page(browser, address):
    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    page.complaints = []

    def note(request):
        if not request.url.startswith((address, "data:", "blob:")):
            page.complaints.append(request.url)

    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("request", note)
    page.goto(address)
    yield page
    context.close()


def serious_faults(page):
    found = Axe().run(page).response["violations"]
    return [(fault["id"], [node["target"] for node in fault["nodes"]]) for fault in found]


def sideways(page):
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def test_an_image_is_scored_and_its_reports_are_saved(page, predictor, jpeg, tmp_path):
    page.set_input_files("#image", jpeg)
    expect(page.locator("#preview")).to_be_visible()
    expect(page.locator("#image-state")).to_contain_text("chosen")
    page.select_option("#sex", "female")
    page.fill("#age_approx", "45")
    page.click("#ask button")
    expected = predictor.predict(jpeg, sex="female", age_approx=45)
    expect(page.locator("#score")).to_have_text(f"{expected.score:.3f}")
    expect(page.locator("#sex")).to_have_value("female")
    with page.expect_download() as download:
        page.click("#pdf")
    download.value.save_as(tmp_path / "report.pdf")
    text = pypdf.PdfReader(io.BytesIO((tmp_path / "report.pdf").read_bytes())).pages[0].extract_text()
    assert NOT_A_MEDICAL_DEVICE in " ".join(text.split())
    with page.expect_download() as download:
        page.click("#text")
    download.value.save_as(tmp_path / "report.txt")
    assert f"{expected.score:.3f}" in (tmp_path / "report.txt").read_text(encoding="utf-8")
    assert page.complaints == []


def test_the_slider_changes_the_heat_map(page, suspicious):
    page.set_input_files("#image", suspicious)
    page.click("#ask button")
    overlay = page.locator("#overlay")
    expect(overlay).to_have_css("opacity", "0.7")
    page.locator("#strength").focus()
    page.keyboard.press("Home")
    expect(overlay).to_have_css("opacity", "0")
    page.keyboard.press("End")
    expect(overlay).to_have_css("opacity", "1")
    assert page.evaluate("document.getElementById('overlay').naturalWidth") == 512


def test_a_file_may_be_dropped(page, jpeg):
    import base64
    from pathlib import Path

    data = base64.b64encode(Path(jpeg).read_bytes()).decode()
    transfer = page.evaluate_handle(
        """(data) => { const t = new DataTransfer();
        const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
        t.items.add(new File([bytes], "lesion.jpg", {type: "image/jpeg"})); return t; }""",
        data,
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    expect(page.locator("#preview")).to_be_visible()
    page.click("#ask button")
    expect(page.locator("#score")).to_be_visible()


def test_a_file_of_the_wrong_kind_or_size_is_told_before_it_is_sent(page, tmp_path):
    (tmp_path / "note.txt").write_text("hello", encoding="utf-8")
    page.set_input_files("#image", tmp_path / "note.txt")
    expect(page.locator("#image-state")).to_have_text("This is not a JPEG or PNG image.")
    (tmp_path / "large.jpg").write_bytes(b"\xff\xd8\xff" + b"\0" * (10 * 2**20))
    page.set_input_files("#image", tmp_path / "large.jpg")
    expect(page.locator("#image-state")).to_have_text("This file has more than 10 MB.")
    page.click("#ask button")
    expect(page.locator("#score")).to_have_count(0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.jpg", b"hello", "not a JPEG or PNG image"),
        ("broken.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 60, "cannot be used"),
        ("empty.jpg", b"", "The file is empty"),
    ],
    ids=["text", "broken", "empty"],
)
def test_what_the_server_refuses_is_told_on_the_page(page, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    page.set_input_files("#image", tmp_path / name)
    page.click("#ask button")
    problem = page.locator("#problem")
    expect(problem).to_contain_text("Not scored")
    expect(problem).to_be_focused()
    expect(problem).to_contain_text(message)
    assert serious_faults(page) == []


def test_too_long_a_file_is_told_though_the_script_is_off(browser, address, tmp_path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    (tmp_path / "large.jpg").write_bytes(b"\xff\xd8\xff" + b"\0" * (11 * 2**20))
    page.set_input_files("#image", tmp_path / "large.jpg")
    page.click("#ask button")
    expect(page.locator("#problem")).to_contain_text("more than 10 MB")
    context.close()


def test_without_scripts_an_image_is_scored(browser, address, jpeg):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    page.set_input_files("#image", jpeg)
    page.click("#ask button")
    expect(page.locator("#score")).to_be_visible()
    expect(page.locator("#overlay")).to_be_visible()
    context.close()


def test_the_keyboard_alone_is_enough(page, suspicious):
    page.set_input_files("#image", suspicious)  # a file dialogue belongs to the system
    page.locator("#image").focus()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "sex":
            break
    page.keyboard.press("f")
    page.keyboard.press("Tab")
    page.keyboard.type("45")
    page.keyboard.press("Tab")
    page.keyboard.press("t")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") == "submit"
    page.keyboard.press("Enter")
    expect(page.locator("#score")).to_be_visible()
    expect(page.locator("dd", has_text="45 years")).to_be_visible()
    seen = []
    for _ in range(30):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id"))
    for name in ("strength", "pdf", "text", "image", "sex"):
        assert name in seen


def test_no_fault_for_people_who_see_or_move_differently(any_page, suspicious):
    assert serious_faults(any_page) == []
    assert sideways(any_page) == 0
    any_page.set_input_files("#image", suspicious)
    any_page.click("#ask button")
    expect(any_page.locator("#score")).to_be_visible()
    assert serious_faults(any_page) == []
    assert sideways(any_page) == 0
    for path in ("/card", "/docs"):
        any_page.locator(f'nav a[href="{path}"]').click()
        expect(any_page.locator("h1")).to_be_visible()
        assert serious_faults(any_page) == []
        assert sideways(any_page) == 0
