"""Errors of the library name parameters; those of the command line name its options."""

import pytest
from typer.main import get_command

from ivimsc.cli import app
from ivimsc.cli.words import error_in_options, in_options
from ivimsc.errors import InputError
from ivimsc.simulate import simulate_phantom, simulate_signals


def parameters(command):
    return get_command(app).commands[command].params


@pytest.mark.parametrize(
    ("command", "said", "shown"),
    [
        ("fit", "bvalues: found 5, expected 0, 10", "--bvalues: found 5, expected 0, 10"),
        ("fit", "no_maps: found …", "--no-maps: found …"),
        ("fit", "settings: found 'x', expected KEY=VALUE", "--set: found 'x', expected KEY=VALUE"),
        ("fit", "a.h5: found a file, expected none: force=True overwrites it", "a.h5: found a file, expected none: --force overwrites it"),
        ("fit", "a: found b; resume=True goes on with it, force=True starts anew", "a: found b; --resume goes on with it, --force starts anew"),
        ("fit", "device: found 'tpu', expected device='cpu'", "--device: found 'tpu', expected --device cpu"),
        ("simulate", "name: found 'heart', expected one of …", "--phantom: found 'heart', expected one of …"),
        ("simulate", "voxels and shape: found both", "--voxels and --shape: found both"),
        ("simulate", "snr: found 0, expected a number > 0 (noise='none' for no noise)", "--snr: found 0, expected a number > 0 (--noise none for no noise)"),
        # not options of the command, or no names of parameters: as they were
        ("maps", "bvalues: found 5", "bvalues: found 5"),
        ("train", "name: found 'x', expected scdnn", "name: found 'x', expected scdnn"),
        ("fit", "the option s0: expected s0='1', prior=True", "the option s0: expected s0='1', prior=True"),
        ("fit", "/tmp/mask: found a folder", "/tmp/mask: found a folder"),
        ("fit", "noise level: found no residuals", "noise level: found no residuals"),
    ],
)  # fmt: skip
def test_parameters_become_options(command, said, shown):
    assert error_in_options(said, parameters(command)) == shown


def test_a_path_that_is_called_like_an_option_stays():
    words = ["fit", "scan.nii.gz", "--mask", "mask", "--out", "out"]
    assert error_in_options("mask: found no voxel", parameters("fit"), words) == "mask: found no voxel"


def test_a_note_keeps_its_beginning():
    note = "device: cuda:0 (A30), because it answers; device='cpu' for the CPU"
    assert in_options(note, parameters("fit")) == "device: cuda:0 (A30), because it answers; --device cpu for the CPU"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--phantom", "heart"], "--phantom: found 'heart'"),
        (["--phantom", "uniform", "--voxels", "0"], "--voxels: found 0"),
        (["--phantom", "uniform", "--bvalues", "0,10,10"], "--bvalues: found 0, 10, 10"),
        (["--phantom", "uniform", "--snr", "0"], "--snr: found 0, expected a number > 0 (--noise none for no noise)"),
        (["--phantom", "uniform", "--threads", "0"], "--threads: found 0"),
        (["--phantom", "uniform", "--device", "tpu"], "--device: found 'tpu'"),
    ],
)
def test_the_command_line_names_its_options(ivimsc, tmp_path, words, says):
    assert ivimsc("simulate", *words, "--out", tmp_path / "s.h5") == 2
    assert ivimsc.error.startswith(f"ivimsc: error: {says}")


def test_python_names_its_parameters():
    with pytest.raises(InputError, match=r"^bvalues: found \[0.0, -5.0\]"):
        simulate_signals(1, 0.1, 1e-3, 5e-2, [0, -5])
    with pytest.raises(InputError, match=r"^snr: found 0, .* \(noise='none' for no noise\)"):
        simulate_phantom("uniform", snr=0)
