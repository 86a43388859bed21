"""A q-space MLP that learned one data set's own population: `learner` teaches it, without torch; `fitter` uses it."""
