"""Opens the pages that users see, the validation report and Dagster's asset graph, in headless Chromium."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from orchestration.records import Records
from orchestration.settings import PROJECT_ROOT

pytestmark = pytest.mark.slow

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
START_SECONDS = 60
GROUPS = ("population", "society", "traces", "distillation", "simulation", "evidence")
PAGE_MILLISECONDS = 20_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of this machine; its absence skips the tests, but fails them in continuous integration."""
    program = shutil.which("chromium")
    if program is None:
        message = "no program named chromium is on PATH; install it to test the pages"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=list(QUIET))
        yield chromium
        chromium.close()


class Watched:
    """A page with everything that it asked for and complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(PAGE_MILLISECONDS)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """A fresh page, wide as a laptop's screen."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    yield Watched(page)
    page.close()


@pytest.fixture
def report(watched: Watched, smoke_home) -> Watched:
    """The report of the smoke run, opened from its file, with every chart drawn."""
    path = Path(Records(smoke_home.root / "records").read("validation_report")["path"])
    watched.page.goto(path.as_uri())
    watched.page.wait_for_function(
        "[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('svg.marks, canvas.marks'))"
    )
    return watched


def test_the_report_opens_alone_and_without_errors(report: Watched) -> None:
    assert report.page.title() == "Populace validation report"
    assert report.page.locator("h1").inner_text() == "Populace validation report"
    assert report.errors == []
    outside = [url for url in report.requests if url != report.page.url and not url.startswith(("data:", "blob:"))]
    assert outside == []


def test_every_chart_of_the_report_draws_marks(report: Watched) -> None:
    plots = report.page.locator(".plot")
    assert plots.count() >= 10
    for plot in plots.all():
        chart = plot.locator("svg.marks, canvas.marks")
        assert chart.count() == 1, plot.get_attribute("id")
        box = chart.bounding_box()
        assert box is not None
        assert box["width"] > 100, plot.get_attribute("id")
        assert box["height"] > 50, plot.get_attribute("id")
        if plot.locator("svg.marks").count():
            data_marks = plot.locator("svg.marks .role-mark path, svg.marks .role-mark line, svg.marks .role-mark text")
            assert data_marks.count() > 0, plot.get_attribute("id")


def test_every_entry_of_the_contents_leads_to_its_section(report: Watched) -> None:
    page = report.page
    links = page.get_by_role("navigation", name="Contents").get_by_role("link")
    sections = page.locator("main section")
    assert links.count() == sections.count() >= 10
    for link in links.all():
        target = link.get_attribute("href") or ""
        link.click()
        assert page.url.endswith(target)
        section = page.locator(target)
        expect(section).to_be_in_viewport()
        assert section.locator("h2").inner_text() == link.inner_text()


def test_a_figure_shows_its_query_when_asked(report: Watched) -> None:
    details = report.page.locator("figure details").first
    expect(details.locator("pre")).to_be_hidden()
    details.locator("summary").click()
    expect(details.locator("pre")).to_be_visible()
    assert "populace query" in details.locator("pre").inner_text()


def test_the_report_fits_a_telephone(report: Watched) -> None:
    report.page.set_viewport_size({"width": 390, "height": 800})
    width = report.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390


def free_port() -> int:
    """A port of loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def dagster_webserver(environment: dict[str, str], log: Path) -> Iterator[str]:
    """Dagster's web server in a session of its own, from when it answers until the block ends."""
    port = free_port()
    program = Path(sys.executable).parent / "dagster-webserver"
    command = [str(program), "-h", "127.0.0.1", "-p", str(port), "-w", "workspace.yaml"]
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"{address}/server_info"):
            assert process.poll() is None, log.read_text(encoding="utf-8")[-4000:]
            assert time.monotonic() < deadline, f"no answer in {START_SECONDS} s: {log.read_text(encoding='utf-8')}"
            time.sleep(0.3)
        yield address
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(address: str) -> bool:
    """Whether a server answers there."""
    try:
        with urllib.request.urlopen(address, timeout=2) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def test_dagster_shows_the_lineage(watched: Watched, smoke_home, tmp_path: Path) -> None:
    home = tmp_path / "dagster"
    shutil.copytree(smoke_home.root / "dagster", home)
    environment = {**smoke_home.environment, "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1"}
    page = watched.page
    page.set_viewport_size({"width": 1400, "height": 4000})  # the list of assets draws what is in view only
    with dagster_webserver(environment, tmp_path / "webserver.log") as address:
        page.goto(f"{address}/asset-groups")
        for group in GROUPS:
            expect(page.get_by_text(group, exact=True).first).to_be_visible(timeout=PAGE_MILLISECONDS)

        arrows = page.get_by_role("button", name="arrow_drop_down")
        for number in reversed(range(len(GROUPS))):
            arrows.nth(number).click()
        for asset in ("agents", "reasoning_traces", "student_model", "validation_report"):
            expect(page.get_by_text(asset, exact=True).first).to_be_visible(timeout=PAGE_MILLISECONDS)
        assert {url.split("/")[2] for url in watched.requests if url.startswith("http")} == {address.split("/")[2]}
