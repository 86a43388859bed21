"""SCDNN, the sparse-coding network with a learned dictionary (`method`; `network` trains it)."""
