"""One attempt at a job: the process around it, its lock and its exit record, and the verdict that follows."""
