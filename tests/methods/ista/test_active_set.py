"""The inner problem of the active set: numpy's least squares and Gram matrices as referees."""

import numpy as np
import pytest

from ivimsc.methods.ista.active_set import append, make_active, padded, remove, solve

B, N = 9, 12


@pytest.fixture
def atoms():
    """Twelve random positive atoms, rows padded with zeros; well apart, so that rounding stays near 1e-15."""
    rows = np.zeros((N, padded(B)))
    rows[:, :B] = np.random.default_rng(4).uniform(0, 1, (N, B))
    return rows


def taken(atoms, numbers, most=B):
    """Room with the atoms `numbers` in use, all with coefficient 0."""
    s, k = make_active(most), 0
    for j in numbers:
        k = append(s, np.int64(k), atoms, j, 0.0, 0.0)
    assert k == len(numbers)
    return s, k


def assert_factor(s, k, atoms):
    """R is upper triangular, RᵀR the Gram matrix of the atoms in use, and `inverse` one over its diagonal."""
    rows, r = atoms[s.atom[:k]], np.triu(s.r[:k, :k])
    np.testing.assert_allclose(r.T @ r, rows @ rows.T, rtol=1e-12)  # some 10 roundings of numbers of order 1
    np.testing.assert_allclose(s.inverse[:k] * np.diag(r), 1, rtol=1e-14)


def test_padding_is_to_whole_registers():
    assert [padded(n) for n in (1, 7, 8, 9, 16, 60)] == [8, 8, 8, 16, 16, 64]


@pytest.mark.parametrize("leaving", [0, 2, 4])
def test_the_factor_is_that_of_the_gram_matrix_with_atoms_coming_and_going(atoms, leaving):
    s, k = taken(atoms, [3, 7, 1, 10, 5])
    assert_factor(s, k, atoms)
    k = remove(s, k, leaving)
    assert s.atom[:k].tolist() == [j for i, j in enumerate([3, 7, 1, 10, 5]) if i != leaving]
    assert_factor(s, k, atoms)
    k = append(s, np.int64(k), atoms, 8, 0.25, 0.5)
    assert (s.atom[k - 1], s.x[k - 1], s.g[k - 1]) == (8, 0.25, 0.5)
    assert_factor(s, k, atoms)


@pytest.mark.parametrize("half_beta", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(5))
def test_a_solution_is_the_least_squares_one_of_the_atoms_that_stay(atoms, half_beta, seed):
    """From x = 0, where the gradient is Φᵀy - β/2; the atoms that stay are all positive."""
    y = np.zeros(padded(B))
    y[:B] = np.random.default_rng(100 + seed).uniform(0, 1, B)
    s, k = taken(atoms, [0, 2, 4, 6, 9])
    s.g[:k] = atoms[s.atom[:k]] @ y - half_beta
    k = solve(s, np.int64(k))
    rows = atoms[s.atom[:k]]
    best = np.linalg.solve(rows @ rows.T, rows @ y - half_beta)
    assert k > 0 and np.all(s.x[:k] > 0)
    np.testing.assert_allclose(s.x[:k], best, rtol=1e-10)  # Gram matrices of condition number up to 1e3


def test_a_step_that_is_blocked_leaves_the_first_coefficient_that_reaches_zero(atoms):
    """From a feasible x whose Newton step would make one negative: the cost falls, and that one is gone."""
    s, k = taken(atoms, [0, 1, 2])
    truth, s.x[:k] = np.array([0.5, -0.4, 0.6]), [0.3, 0.2, 0.3]
    y = truth @ atoms[:3]
    s.g[:k] = atoms[:3] @ (y - s.x[:k] @ atoms[:3])
    before = np.sum((y - s.x[:k] @ atoms[:3]) ** 2)
    k = solve(s, np.int64(k))
    assert s.atom[:k].tolist() == [0, 2]
    best = np.linalg.lstsq(atoms[[0, 2]].T, y, rcond=None)[0]
    np.testing.assert_allclose(s.x[:k], best, rtol=1e-10)
    assert np.sum((y - best @ atoms[[0, 2]]) ** 2) < before


def test_an_atom_that_is_a_combination_takes_the_place_of_one_of_its_parts(atoms):
    """φ_11 := φ_3 + 2 φ_7 with x_3 = 0.4, x_7 = 0.6: 0.3 of it use up atom 7, and 0.1 of atom 3 stays; Φ x is the same."""
    atoms[11] = atoms[3] + 2 * atoms[7]
    s, k = taken(atoms, [3, 7, 5])
    s.x[:k] = 0.4, 0.6, 0.2
    before = s.x[:k] @ atoms[s.atom[:k]]
    k = append(s, np.int64(k), atoms, 11, 0.0, 0.0)
    assert s.atom[:k].tolist() == [3, 5, 11]
    np.testing.assert_allclose(s.x[:k], [0.1, 0.2, 0.3], rtol=1e-12)
    np.testing.assert_allclose(s.x[:k] @ atoms[s.atom[:k]], before, rtol=1e-12)
    assert_factor(s, k, atoms)


def test_where_there_is_no_room_an_atom_takes_the_place_of_one(atoms):
    """Φ x cannot stay the same, as nine atoms in use span all of nine b-values: the newcomer is a combination of them."""
    s, k = taken(atoms, range(B))
    s.x[:k] = 1.0
    before = s.x[:k] @ atoms[:B]
    k = append(s, np.int64(k), atoms, 11, 0.0, 0.0)
    assert k == B and 11 in s.atom[:k] and np.all(s.x[:k] >= 0)
    np.testing.assert_allclose(s.x[:k] @ atoms[s.atom[:k]], before, rtol=1e-9)  # condition number up to 1e6
