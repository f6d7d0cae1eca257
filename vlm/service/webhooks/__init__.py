"""What becomes of jobs is sent to the addresses that users name, signed as Standard Webhooks asks."""
