"""The report: one offline HTML file in which every voxel of every fit can be looked at.

`write_report` is the one function. `sources` opens the data and the fits, and refuses what does not belong together;
`summary`, `volumes`, `regions` and `cautions` say what there is to say of them; `packing` and `plan` bring the maps and the
signals into a file of bounded size; `charts` draws with Bokeh, `page` puts all of it into a page. What moves in the page is
in `static` (JavaScript, CSS and the template).
"""

from ivimsc.report.stage import ReportJob, check_job, write_report

__all__ = ["ReportJob", "check_job", "write_report"]
