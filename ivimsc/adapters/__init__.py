"""ivimsc in the shapes that people's scripts already have: `dipy` and `osipi`."""
