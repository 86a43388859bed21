"""Whole studies: a BIDS App. Every subject of a data set is fitted, and the group is told.

`finding` says which diffusion series are fit for IVIM (`names` knows BIDS's names), `participant` fits one subject and never
fails, `running` runs many of them, `record` tells by content what is complete, `dataset` writes the files at the root,
`subject_page` and `group` make the pages. `study` puts it together.
"""

from ivimsc.bids.study import StudyJob, StudySummary, run_group, run_participants

__all__ = ["StudyJob", "StudySummary", "run_group", "run_participants"]
