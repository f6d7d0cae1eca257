"""`eyegraft data convert`: data files of one format written in another."""
