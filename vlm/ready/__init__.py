"""VLMs that others have made: opened by their own classes, read by their own processors, proved before they train."""
