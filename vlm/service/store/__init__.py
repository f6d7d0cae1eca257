"""What the service knows: jobs, attempts, events and files in SQLite, and the states of a job."""
