"""``ivimsc design``: the command, and bad input in one line."""

import pytest

from ivimsc.cli import main
from ivimsc.physics.bvalue_text import read_bval


def test_the_command_writes_a_protocol(tmp_path, capsys):
    words = ["design", "--tissue", "liver", "--snr", "30", "--volumes", "6", "--bmax", "600", "--step", "100", "--fixed", "0,500",
             "--criterion", "cramer-rao", "--weights", "1,1,0.5", "--out", str(tmp_path), "--threads", "1"]  # fmt: skip
    assert main(words) == 0
    out, err = capsys.readouterr()
    images = read_bval(tmp_path / "design.bval")
    assert len(images) == 6 and {0, 500} <= set(images)
    assert out.startswith("protocol: b = 0") and "the paper's ten" in out and "design.png" in out and "liver" in out
    assert err.splitlines()[-1] == "design: 100 of 100 %"
    assert main(words) == 2
    assert (
        "design.bval: found an existing file, expected a new name, or --force to replace it" in capsys.readouterr().err
    )


@pytest.mark.parametrize(("words", "says"), [
    (["--tissue", "heart"], "--tissue: found 'heart', expected some of placenta core"),
    (["--tissue", "liver", "--volumes", "3"], "--volumes: found 3, expected at least 4 images, one for each of S0, f, D and D*"),
    (["--tissue", "liver", "--bmax", "150"], "--bmax: found 150, expected 200 to 5000 s/mm²"),
    (["--tissue", "liver", "--snr", "0"], "--snr: found 0, expected a number > 0"),
    (["--tissue", "liver", "--weights", "1,2"], "--weights: found '1,2', expected 3 numbers apart by commas"),
    (["--tissue", "liver", "--fixed", "0,x"], "--fixed: found 'x' at position 2"),
    (["--tissue", "liver", "--te", "60", "--gradient", "30"], "--t2: found none with te, gradient"),
])  # fmt: skip
def test_bad_input_is_one_line(tmp_path, capsys, words, says):
    assert main(["design", *words, "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1 and not (tmp_path / "out").exists()
