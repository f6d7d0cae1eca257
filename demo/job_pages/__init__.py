"""The pages of the service: the table of jobs, one job, and the form that trains; Chat and Compare are gradio's."""
