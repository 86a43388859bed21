"""The paper's printed mean squared errors, its tables 1 to 3, with their row factors applied: f [1], D and D* [(µm²/ms)²].

Tables 1 and 3 print two scales for the same experiment; each is quoted as it is printed.
"""

__all__ = ["FIG3_R2", "TABLE1", "TABLE2", "TABLE3"]


def _scaled(factors: tuple[float, float, float], rows: dict) -> dict:
    return {
        name: tuple(factor * value for factor, value in zip(factors, row, strict=True)) for name, row in rows.items()
    }


TABLE1 = _scaled(
    (1e-5, 1e-3, 1e-1),
    {
        "least squares": (540, 230, 198),
        "Bayesian": (120.0, 2.2, 2.2),
        "MLP": (6.80, 0.51, 3.80),
        "IVIM-NET": (25, 280, 130),
        "SCDNN": (0.72, 0.31, 0.18),
    },
)
TABLE2 = _scaled(
    (1e-4, 1e-4, 1e-1),
    {
        "least squares": (320, 97, 973),
        "Bayesian": (30, 21, 45),
        "MLP": (29, 12, 34),
        "IVIM-NET": (196.0, 9080.0, 200.2),
        "SCDNN": (4.40, 0.72, 8.40),
    },
)
TABLE3 = _scaled(
    (1e-4, 1e-4, 1e-2),
    {
        (20, 150, 500): (2.000, 37.0, 14.0),
        (20, 50, 150, 300, 500): (0.072, 3.1, 1.8),
        (20, 50, 150, 200, 500): (7.100, 2.1, 6.2),
        (20, 50, 200, 300, 500): (0.400, 2.1, 9.0),
        (20, 100, 150, 300, 500): (0.270, 9.0, 2.2),
        (20, 80, 150, 300, 500): (0.190, 3.2, 2.7),
        (20, 50, 100, 150, 200, 300, 500): (0.100, 3.2, 2.8),
    },
)
FIG3_R2 = (0.9982, 0.9991, 0.9985)  # one case: f, D, D*
