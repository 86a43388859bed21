"""``ivimsc info``: what is installed, what runs where, and what a file is."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

from ivimsc.errors import InputError
from ivimsc.text import one_line

__all__ = ["register"]

CORE = ("numpy", "scipy", "numba", "h5py", "nibabel", "isal", "matplotlib")
EXTRAS = {
    "learn": (("torch",), "training of scdnn, mlp and ivimnet"),
    "register": (("SimpleITK",), "registration of the b-value images"),
    "report": (("bokeh",), "reports of fits, as one HTML file"),
    "cluster": (("dask", "distributed"), "fits on many machines (--cluster)"),
    "cuda": (("numba-cuda",), "kernels on a GPU"),
}


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("info")(info)


def info(
    file: Path = typer.Argument(
        None, metavar="[METHOD|FILE]", help="A method, whose options are listed; a store (.h5) or model (.safetensors)."
    ),
    verify: bool = typer.Option(False, "--verify", help="Read all of FILE, and compare it with its checksums."),
    markdown: bool = typer.Option(False, "--markdown", hidden=True),
) -> None:
    """Print versions, CPU, threads, GPU and methods; the options of a method; or what a store holds."""
    from ivimsc.methods import METHODS, load_method

    if markdown:
        return print(options_page(), end="")
    if verify and file is None:
        raise InputError("verify: found no FILE, expected the file to compare with its checksums")
    if file is not None and str(file) in METHODS and not file.exists():
        return _method(str(file))
    if file is not None and file.suffix == ".safetensors":
        from ivimsc.models import read_model

        model = read_model(file)
        print(*map(one_line, model.card()), sep="\n")
        return print(_verdict([] if model.has_checksum else ["all weights"])) if verify else None
    if file is not None:
        if not file.suffix and not file.exists():
            raise InputError(f"info: found {str(file)!r}, expected a file or one of the methods {', '.join(METHODS)}")
        return _describe(file, verify)
    import numba

    from ivimsc import __version__
    from ivimsc.device.launch import find_gpus, usable_cores

    print(f"ivimsc {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print("packages: " + ", ".join(f"{name} {_version(name)}" for name in CORE))
    print(f"CPU:      {usable_cores()} cores usable, {numba.config.CPU_NAME or _cpu_name()}")
    gpus, reason = find_gpus()
    listed = ", ".join(f"cuda:{index} {name}" for index, name in enumerate(gpus))
    print(
        f"GPU:      {listed or f'not usable: {reason}'}; CUDA kernels: {', '.join(['simulate', *(m.name for m in METHODS.values() if m.on_cuda)])}"
    )
    print(f"cache:    {_cache()}")
    for extra, (packages, purpose) in EXTRAS.items():
        missing = [name for name in packages if _version(name) is None]
        state = "installed" if not missing else f"not installed ({', '.join(missing)}): pip install 'ivimsc[{extra}]'"
        print(f"[{extra}]".ljust(11) + f"{purpose}: {state}")
    for name in METHODS:
        module = load_method(name)
        print(f"method {name}: {module.TITLE} ({module.SOURCE})")
    print("`ivimsc info METHOD` lists the options of a method")
    return None


def _cache() -> str:
    from ivimsc.compiling.cache import cache_folder, cache_note

    folder, kind = cache_folder()
    return cache_note() or (
        "compiled kernels are kept in __pycache__ beside the package" if kind == "package" else str(folder)
    )


def _method(name: str) -> None:
    """A method and its options, each with its default and help."""
    from ivimsc.cli.show import show_table
    from ivimsc.methods import find_method, load_method
    from ivimsc.options import list_options

    record, module = find_method(name), load_method(name)
    print(f"{name}: {module.TITLE}\nsource: {module.SOURCE}")
    print(f"runs on: cpu{', cuda' if record.on_cuda else ''}" + (f"; trained by `ivimsc train {name}`" if record.trained else ""))  # fmt: skip
    show_table("options: --set OPTION=VALUE, or OPTION=VALUE in Python", ["option", "takes", "default", "help"],
               list_options(module.Options), left=4)  # fmt: skip


def options_page() -> str:
    """docs/options.md: every option of every method."""
    from ivimsc.methods import METHODS, load_method
    from ivimsc.options import list_options

    lines = [
        "# Options of the methods",
        "",
        "`--set OPTION=VALUE` on the command line, `OPTION=VALUE` in `fit_signals`. `ivimsc info METHOD` prints the same.",
    ]
    lines += ["This page is made by `ivimsc info --markdown > docs/options.md`."]
    for name in METHODS:
        module = load_method(name)
        lines += [
            "",
            f"## {name}",
            "",
            f"{module.TITLE} ({module.SOURCE})",
            "",
            "| option | takes | default | help |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| `{one.name}` | {one.kind} | `{one.default}` | {one.help.replace('|', chr(92) + '|')} |"
            for one in list_options(module.Options)
        ]
    return "\n".join(lines) + "\n"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu_name() -> str:
    import llvmlite.binding

    return llvmlite.binding.get_host_cpu_name()


def _describe(file: Path, verify: bool) -> None:
    from ivimsc.cli.show import outcome_lines
    from ivimsc.store import EstimateStore, open_store

    with open_store(file) as store:
        kind = "estimates" if isinstance(store, EstimateStore) else "voxels"
        print(f"{file}: {kind}, {len(store):,} voxels of a volume of {' × '.join(map(str, store.geometry.shape))}")
        print(f"b-values: {', '.join(f'{b:g}' for b in store.bvalues)} s/mm²")
        print(one_line(f"source:   {store.source or 'not said'}, made {store.created} by ivimsc {store.version}"))
        print(one_line(f"signals:  SHA-256 {store.signals_sha256}"))
        if isinstance(store, EstimateStore):
            print(one_line(f"method:   {store.method} on {store.device}, {store.threads} threads, {store.seconds:.2f} s, options {store.options}"))  # fmt: skip
            print(*map(one_line, store.notes), sep="\n")
            print(*outcome_lines(store.count_outcomes()), sep="\n")
        else:
            print(one_line(f"truth:    {'yes' if store.has_truth else 'no'}; tissues: {', '.join(store.tissue_names.values()) or 'not labelled'}"))  # fmt: skip
        if verify:
            print(_verdict(store.verify()))


def _verdict(unknown: list[str]) -> str:
    """What comparing a file with its checksums said; `unknown` has none."""
    if not unknown:
        return "checksums: all agree"
    return f"checksums: none for {', '.join(unknown)}, as an earlier ivimsc wrote the file; all others agree"
