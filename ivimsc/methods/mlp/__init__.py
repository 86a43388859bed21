"""The q-space MLP (`method`; `network` trains it)."""
