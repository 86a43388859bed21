"""The general SCDNN: one model for any protocol and level of noise. The package `scdnn` says what is where."""
