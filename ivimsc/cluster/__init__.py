"""More than one machine: jobs on the workers of a Dask scheduler, or one after the other in this process.

`run_jobs` takes a function, what all jobs share, and the jobs, and gives the results back. Without a cluster it is a
loop. With one, a bounded number of jobs is under way at any time, a job whose worker dies is done by another, and the
results come in the order of the jobs. Nothing here knows what the jobs are.

Dask is imported only where a cluster is opened.
"""

from ivimsc.cluster.connect import Cluster, opened_cluster
from ivimsc.cluster.jobs import Finished, run_jobs

__all__ = ["Cluster", "Finished", "opened_cluster", "run_jobs"]
