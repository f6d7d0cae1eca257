"""Files and folders that stay intact: atomic writes, regular files only, folders known as our own."""
