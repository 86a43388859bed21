"""IVIM-NET (`method`; `network` trains it)."""
