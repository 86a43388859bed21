"""What several methods share: vector lanes, random numbers, small matrices, scaling, standard errors."""
