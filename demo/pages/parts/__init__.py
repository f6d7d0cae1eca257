"""Parts of pages without layout: messages, records, run status, findings."""
