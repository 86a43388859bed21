"""The page in a browser: it loads by itself, shows the numbers of the stores, and obeys the mouse and the keys."""

import math
import shutil

import numpy as np
import pytest

from ivimsc.report import ReportJob, write_report
from tests.conftest import TEN, equation1

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra [dev])")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"{CHROMIUM} does not start: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


def is_problem(message):
    """Errors and warnings, but for that on the tests' own look at pixels."""
    return message.type in ("error", "warning") and "willReadFrequently" not in message.text


def opened(chromium, path, **options):
    """The page at `path`, when all of it is drawn; nothing was logged as an error, nothing was asked of the network."""
    page = chromium.new_page(viewport={"width": 1440, "height": 1000}, **options)
    page.problems = []
    page.on("console", lambda message: page.problems.append(message.text) if is_problem(message) else None)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda request: page.problems.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-whole=yes]", timeout=60_000)  # of a machine under load
    return page


@pytest.fixture(scope="module")
def report(made, tmp_path_factory):
    return write_report(ReportJob(made.store, made.paths, tmp_path_factory.mktemp("browser") / "report.html"))


@pytest.fixture(scope="module")
def page(chromium, report):
    page = opened(chromium, report)
    yield page
    assert page.problems == []


def click(page, place, fit="nlls"):
    """Click the voxel at i, j, k of the volume on the map of a fit."""
    origin = page.evaluate("ivimsc.viewer.about.origin")
    i, j, k = (int(x) - o for x, o in zip(place, origin, strict=True))
    page.evaluate(f"ivimsc.viewer.moveTo(0, 0, {k})")
    x, y = page.evaluate(
        f"""(() => {{ const panel = ivimsc.viewer.panels.find((one) => one.column.name === "{fit}");
        const [u, v] = ivimsc.viewer.volume.toScreen({i}, {j}); const {{ left, top, scale }} = panel.layout();
        return [left + (u + 0.5) * scale[0], top + (v + 0.5) * scale[1]]; }})()"""
    )
    page.locator(f'#panels canvas[data-fit="{fit}"]').click(position={"x": x, "y": y})


def shown(page, key, fit):
    """The numbers of a cell of the inspector: value, and SD where there is one."""
    text = page.locator(f'#voxel-rows td[data-map="{key}"][data-fit="{fit}"]').inner_text()
    return [float(part) for part in text.split(" ± ")] if text else []


def place(page):
    return [int(x) for x in page.locator("#voxel-name").inner_text().removeprefix("Voxel ").split(", ")]


@pytest.mark.parametrize("v", [0, 50, 77, 103])
def test_a_clicked_voxel_shows_the_numbers_of_the_stores(page, made, v):
    click(page, made.voxels.index[v])
    assert place(page) == made.voxels.index[v].tolist()
    scales = {
        "s0": ("S0", 1, None),
        "f": ("f", 100, "fstd"),
        "d": ("D", 1e3, "dstd"),
        "dstar": ("Dstar", 1e3, "dstarstd"),
    }
    for name, fit in made.fits.items():
        for key, (code, scale, error) in scales.items():
            values = getattr(fit, code)
            if values is None:
                assert shown(page, key, name) == []
                continue
            found = shown(page, key, name)
            assert found[0] == pytest.approx(values[v] * scale, rel=6e-3)  # three digits
            sd = getattr(fit, error) if error else None
            assert len(found) == (1 if sd is None else 2)
            if sd is not None:
                assert found[1] == pytest.approx(sd[v] * scale, rel=6e-2)  # two digits
    assert shown(page, "f", "truth")[0] == pytest.approx(made.truth.f[v] * 100, rel=6e-3)
    outcome = page.locator('#voxel-rows td[data-map="outcome"][data-fit="nlls"]').inner_text()
    assert outcome.split()[0] == str(made.fits["nlls"].outcome[v])
    region = "core" if made.voxels.tissue[v] == 1 else "alert"
    assert region in page.locator("#voxel-place").inner_text()


def test_signals_curves_and_residuals_are_those_of_numpy(page, made):
    v = 61
    click(page, made.voxels.index[v])
    rows = page.locator("#voxel-signals").evaluate(
        "body => [...body.rows].map(row => [...row.cells].map(cell => cell.textContent))"
    )
    table = np.array([[float(cell) for cell in row] for row in rows])
    np.testing.assert_allclose(table[:, 0], TEN)
    np.testing.assert_allclose(table[:, 2], made.voxels.signals[v], atol=0.002)  # kept to 0.03 noise SD, four digits
    nlls, adc = made.fits["nlls"], made.fits["adc"]
    np.testing.assert_allclose(table[:, 3], equation1(nlls.S0[v], nlls.f[v], nlls.D[v], nlls.Dstar[v], TEN), rtol=2e-3)
    np.testing.assert_allclose(table[:, 5], adc.S0[v] * np.exp(-TEN * adc.D[v]), rtol=2e-3)  # its own model
    np.testing.assert_allclose(table[:, 4], table[:, 2] - table[:, 3], atol=0.006)  # two digits of residuals up to 0.1
    drawn = page.evaluate("Bokeh.documents.map(made => made.get_model_by_name('measured')).find(Boolean).data.s")
    np.testing.assert_allclose(list(drawn), made.voxels.signals[v], atol=0.002)


def test_the_spectrum_of_a_voxel_has_its_atoms(page, made):
    v = 32  # three atoms from number 0 on
    click(page, made.voxels.index[v])
    data = page.evaluate("(() => { const d = Bokeh.documents.map(m => m.get_model_by_name('spectrum ista')).find(Boolean).data; return [[...d.x], [...d.y]]; })()")  # fmt: skip
    rows = slice(*made.fits["ista"].spectrum.indptr[[v, v + 1]])
    atoms, amounts = made.fits["ista"].spectrum.indices[rows], made.fits["ista"].spectrum.data[rows]
    np.testing.assert_allclose(data[0], np.array([1, 2, 3, 10, 50, 100])[atoms])
    np.testing.assert_allclose(data[1], 100 * amounts / amounts.sum(), atol=0.06)


def test_arrows_move_the_voxel_as_the_patient_lies(page, made):
    click(page, (4, 2, 2))
    page.keyboard.press("ArrowLeft")  # to the patient's right, which has the lower x index in this file
    right = np.linalg.inv(made.voxels.geometry.affine)[:3, :3] @ [2, 0, 0]
    assert place(page) == [4 + round(right[0]), 2, 2]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")  # to the front
    assert place(page) == [4, 2 + round((np.linalg.inv(made.voxels.geometry.affine)[:3, :3] @ [0, 2.5, 0])[1]), 2]
    page.keyboard.press("PageUp")
    assert place(page)[2] == 3
    page.keyboard.press("PageDown")
    page.keyboard.press("PageDown")
    assert place(page)[2] == 1
    for _ in range(12):
        page.keyboard.press("ArrowDown")  # the edge holds it
    assert page.locator("#slice-name").inner_text().startswith("slice 1 (0 to 3)")


@pytest.mark.parametrize("key, name", [("1", "s0"), ("3", "d"), ("4", "dstar"), ("9", "outcome"), ("2", "f")])
def test_numbers_choose_the_map(page, key, name):
    page.keyboard.press(key)
    assert page.locator('#maps [aria-checked="true"]').get_attribute("data-key") == name
    fits = 3 if name in ("f", "dstar") else 4
    visible = page.locator("#panels figure:visible").count()
    assert visible == (fits if name != "outcome" else 3)


def pixel(page, fit, where):
    """The colour of a voxel of the shown slice, as the canvas has it."""
    return page.evaluate(
        f"""(() => {{ const panel = ivimsc.viewer.panels.find((one) => one.column.name === "{fit}");
        const [u, v] = ivimsc.viewer.volume.toScreen({where[0]}, {where[1]});
        return [...panel.image.getContext("2d").getImageData(u, v, 1, 1).data].slice(0, 3); }})()"""
    )


def test_pixels_have_the_colours_of_their_values(page, made):
    import matplotlib

    origin = made.voxels.index.min(0)
    page.keyboard.press("2")
    for v in (3, 40, 90):
        click(page, made.voxels.index[v])
        page.wait_for_timeout(60)
        low, high = page.evaluate("ivimsc.viewer.rangeOf(ivimsc.viewer.state.map, false)")
        colour = matplotlib.colormaps["magma"](round(255 * (made.fits["nlls"].f[v] * 100 - low) / (high - low)))
        assert pixel(page, "nlls", made.voxels.index[v] - origin) == pytest.approx([255 * c for c in colour[:3]], abs=6)
    page.evaluate("ivimsc.viewer.moveTo(3, 2, 1)")
    page.wait_for_timeout(60)
    assert pixel(page, "nlls", (3, 2)) == [0, 0, 0]  # the hole in the mask


def test_a_difference_is_that_of_two_fits(page, made):
    page.keyboard.press("3")
    page.select_option("#reference", "truth")
    click(page, made.voxels.index[20])
    page.wait_for_timeout(60)
    low, high = page.evaluate("ivimsc.viewer.rangeOf(ivimsc.viewer.state.map, true)")
    assert low == -high
    difference = (made.fits["nlls"].D[20] - made.truth.D[20]) * 1e3
    red, _, blue = pixel(page, "nlls", made.voxels.index[20] - made.voxels.index.min(0))
    assert (red > blue) == (difference > 0)
    assert page.locator('#panels figure[data-fit="nlls"] figcaption').inner_text() == "nlls − truth"
    page.select_option("#reference", "")


def test_zoom_is_linked_and_returns(page):
    page.locator("#zoom-in").click()
    scales = page.evaluate(
        "ivimsc.viewer.panels.filter(p => !p.canvas.parentElement.hidden).map(p => p.layout().scale[0])"
    )
    page.locator("#zoom-all").click()
    whole = page.evaluate("ivimsc.viewer.panels[0].layout().scale[0]")
    assert all(math.isclose(scale, 1.5 * whole, rel_tol=1e-6) for scale in scales)


def test_a_range_is_linked_over_the_fits_and_kept_for_its_map(page):
    page.keyboard.press("2")
    page.fill("#high", "30")
    page.keyboard.press("Enter")
    assert page.evaluate("ivimsc.viewer.rangeOf(ivimsc.viewer.state.map, false)") == [0, 30]
    assert "to 30" in page.locator("#bar").get_attribute("aria-label")
    page.locator("#range-reset").click()
    assert page.evaluate("ivimsc.viewer.rangeOf(ivimsc.viewer.state.map, false)") == [0, 60]
    page.locator("#viewer").focus()


def test_dark_and_narrow_pages_have_no_scrollbar_below_and_readable_text(chromium, report):
    page = opened(chromium, report, color_scheme="dark")
    page.set_viewport_size({"width": 1024, "height": 800})
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    light = [sum(int(x) for x in colour[4:-1].split(",")[:3]) for colour in (ink, paper)]
    assert light[0] > 600 > 120 > light[1]
    title = page.evaluate(
        "Bokeh.documents.flatMap(made => made.roots()).find(plot => plot.title && plot.title.text).title.text_color"
    )
    assert title == ink
    assert page.problems == []
    page.close()


def test_single_images_of_a_series_are_all_shown(chromium, repeated_series, tmp_path):
    job = ReportJob(
        repeated_series.folder / "scan.nii.gz",
        [repeated_series.path],
        tmp_path / "report.html",
        repeated_series.folder / "scan.bval",
    )
    page = opened(chromium, write_report(job))
    v = 33
    click(page, repeated_series.voxels.index[v])
    i, j, k = repeated_series.voxels.index[v]
    data = page.evaluate("(() => { const d = Bokeh.documents.map(m => m.get_model_by_name('images')).find(Boolean).data; return [[...d.b], [...d.s], [...d.n]]; })()")  # fmt: skip
    np.testing.assert_allclose(data[0], repeated_series.bvalues)
    np.testing.assert_allclose(
        data[1], repeated_series.images[i, j, k], atol=1
    )  # kept to a thirtieth of the noise of 20
    assert data[2] == list(range(24))
    assert "image 13" in page.locator("section.warnings").inner_text()
    assert page.problems == []
    page.close()
