"""The notebooks run, within seconds, and what they say of their results is so; a notebook that fails says where."""

import traceback

import numpy as np
import pytest

from docs._ext.percent import Cell, as_markdown, read_cells, run_notebook
from tests.docs.test_examples import DOCS


def run(name):
    """Cells and scope of a notebook of the documentation."""
    path = DOCS / "notebooks" / f"{name}.py"
    return run_notebook(path.read_text(encoding="utf-8"), str(path))


def test_a_first_fit():
    cells, scope = run("first_fit")
    truth, at = scope["phantom"].truth, scope["at"]
    errors = {name: np.median(np.abs(scope[name].f[at] - truth["f"])) for name in ("nlls", "bayes")}
    assert errors["bayes"] < errors["nlls"]  # "less noisy for it"
    assert sum(len(cell.figures) for cell in cells) == 2 and "converged" in cells[-1].printed + "".join(
        c.printed for c in cells
    )


def test_comparing_dictionaries():
    cells, scope = run("dictionaries")
    error = {name: np.sqrt(np.nanmean((fit.f - scope["f"]) ** 2)) for name, fit in scope["fits"].items()}
    default, coarse, known, from_file = error.values()
    assert abs(coarse / default - 1) < 0.1 < 1 - known / default  # "the number changes little, the range a lot"
    assert from_file == pytest.approx(known, rel=0.05)
    assert all(np.nanmax(fit.gap) <= 1e-6 for fit in scope["fits"].values())
    assert [len(cell.figures) for cell in cells if cell.figures] == [1]


def test_planning_a_protocol():
    """The Cramér-Rao bound is that of numpy's inverse; a posterior mean is below it where it is wide."""
    _, scope = run("protocol")
    b, liver = np.asarray(scope["protocols"]["ten"], float), scope["liver"]
    e, p = np.exp(-b * liver["D"]), np.exp(-b * liver["Dstar"])
    f = liver["f"]
    slopes = np.stack([(1 - f) * e + f * p, p - e, -b * (1 - f) * e, -b * f * p])
    bound = np.sqrt(np.diag(np.linalg.inv(slopes @ slopes.T))) / 50
    found = scope["cramer_rao"](**liver, bvalues=b, sigma=1 / 50)[0]
    np.testing.assert_allclose(found, bound, rtol=1e-6)
    left = scope["made"].left
    assert left["this design"] < min(left["the paper's ten"], left["equally spaced"], left["the paper's five"])
    assert np.all(scope["errors"]["five"] < 0.8 * scope["bounds"]["five"])  # "well below where the protocol is poor"


TEXT = "import os\n# %% [markdown]\n# # Title\n#\n# words\n# %%\n# two\nx = 1 + 1\nprint('printed')\nx\n# %%\nfrom matplotlib import pyplot\nfigure = pyplot.figure()\n"


def test_cells_are_run_in_order_and_shown():
    assert [cell.is_text for cell in read_cells(TEXT)] == [True, False, False]
    cells, scope = run_notebook(TEXT)
    assert scope["x"] == 2 and cells[1].printed == "printed\n2"
    assert cells[0].source == "# Title\n\nwords" and cells[2].figures[0].startswith(b"\x89PNG")
    page = as_markdown(cells)
    assert page.startswith("# Title\n\nwords\n\n```python\n# two") and "```text\nprinted\n2\n```" in page
    assert "](data:image/png;base64,iVBOR" in page
    assert as_markdown([Cell(False, "1")]) == "```python\n1\n```\n"


def test_an_error_in_a_notebook_names_its_line():
    with pytest.raises(ZeroDivisionError) as error:
        run_notebook("# %%\nx = 1\n\n# %%\ny = 2\nx / 0\n", "mine.py")
    last = traceback.extract_tb(error.value.__traceback__)[-1]
    assert (last.filename, last.lineno) == ("mine.py", 6)
    with pytest.raises(UserWarning, match="heard"):
        run_notebook("# %%\nimport warnings\nwarnings.warn('heard')\n")
