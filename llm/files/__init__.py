"""Safe file access: atomic writes, bounded reads of regular files, folders that this program owns."""
