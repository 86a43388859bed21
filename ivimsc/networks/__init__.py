"""Networks that learn to estimate f, D and D*, in torch, and the one loop that trains them."""
