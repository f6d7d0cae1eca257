"""What pages are made of: messages, records, run status, findings."""
