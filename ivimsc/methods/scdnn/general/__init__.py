"""The general SCDNN: one model for any protocol and level of noise."""
