"""Notebooks: Python files in cells, run while the site is built, and shown with what they print and draw.

A notebook is a Python file in the "percent" form, which Jupyter (by jupytext), VS Code, PyCharm and Spyder open as one: a line
``# %%`` begins a cell of code, ``# %% [markdown]`` one of text in comments. It holds no results, so that its history shows what
people changed. `run_notebook` runs it, `as_markdown` shows it; the extension of Sphinx below does both.
"""

import ast
import base64
import contextlib
import io
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Cell", "as_markdown", "read_cells", "run_notebook", "setup"]


class Cell(NamedTuple):
    """A cell: text or code, what it printed, and its figures as PNG."""

    is_text: bool
    source: str
    line: int = 1
    printed: str = ""
    figures: tuple[bytes, ...] = ()


def read_cells(text: str) -> list[Cell]:
    """The cells of a notebook in the percent form; what stands before the first ``# %%`` is none."""
    cells: list[tuple[bool, int, list[str]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("# %%"):
            cells.append((line.removeprefix("# %%").strip() == "[markdown]", number + 1, []))
        elif cells:
            is_text, _, lines = cells[-1]
            lines.append(line.removeprefix("#").removeprefix(" ") if is_text else line)
    return [Cell(is_text, "\n".join(lines).strip("\n"), line) for is_text, line, lines in cells]


def run_notebook(text: str, name: str = "notebook") -> tuple[list[Cell], dict[str, Any]]:
    """Run a notebook in a new folder that is removed afterwards.

    Parameters
    ----------
    text : of the notebook
    name : its name in tracebacks

    Returns
    -------
    cells
        with what they printed and drew
    scope
        the names that it has made
    """
    scope: dict[str, Any] = {"__name__": "__main__"}
    done = []
    with _elsewhere(), warnings.catch_warnings():
        warnings.simplefilter("error")  # a reader would see it; a notebook says what it expects
        warnings.simplefilter("default", DeprecationWarning)
        for cell in read_cells(text):
            if cell.is_text:
                done.append(cell)
                continue
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                value = _run(cell, name, scope)
                if value is not None and not hasattr(value, "savefig"):
                    print(value)
            done.append(cell._replace(printed=printed.getvalue().rstrip(), figures=tuple(_figures(value))))
    return done, scope


def _run(cell: Cell, name: str, scope: dict[str, Any]) -> Any:
    """Run a cell; the value of its last line where that is an expression, as notebooks show it."""
    code = ast.parse("\n" * (cell.line - 1) + cell.source, name)  # the lines of a traceback are those of the file
    last = ast.Expression(code.body.pop().value) if code.body and isinstance(code.body[-1], ast.Expr) else None
    exec(compile(code, name, "exec"), scope)
    return None if last is None else eval(compile(last, name, "eval"), scope)


def as_markdown(cells: list[Cell]) -> str:
    """A notebook that was run, as Markdown: its figures are in the text."""
    parts = []
    for cell in cells:
        if cell.is_text:
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        if cell.printed:
            parts.append(f"```text\n{cell.printed}\n```")
        title = next((line.lstrip("# ") for line in cell.source.splitlines() if line.startswith("#")), "the cell above")
        for figure in cell.figures:
            parts.append(f"![Figure: {title}](data:image/png;base64,{base64.b64encode(figure).decode()})")
    return "\n\n".join(parts) + "\n"


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """In a folder of its own, with a drawing surface that needs no screen."""
    import matplotlib

    before, surface = Path.cwd(), matplotlib.get_backend()
    matplotlib.use("Agg")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)
            matplotlib.use(surface)


def _figures(value: Any) -> Iterator[bytes]:
    """A figure, and those of pyplot that are open, as PNG; these are closed."""
    from matplotlib import pyplot

    own = [pyplot.figure(number) for number in pyplot.get_fignums()]
    for figure in [*own, *([value] if hasattr(value, "savefig") and value not in own else [])]:
        stream = io.BytesIO()
        figure.savefig(stream, dpi=100, bbox_inches="tight", metadata={"Software": None})
        yield stream.getvalue()
    pyplot.close("all")


def setup(app: Any) -> dict[str, bool]:
    """Notebooks as pages of the site; ``-D percent_run=0`` shows them without what they print and draw."""
    from myst_parser.parsers.sphinx_ import MystParser

    class NotebookParser(MystParser):
        """A notebook, run, as MyST."""

        supported = ("percent",)

        def parse(self, inputstring: str, document: Any) -> None:
            runs = document.settings.env.config.percent_run
            cells = run_notebook(inputstring, document["source"])[0] if runs else read_cells(inputstring)
            super().parse(as_markdown(cells), document)

    app.add_config_value("percent_run", True, "env", [bool])
    app.add_source_suffix(".py", "percent")
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
