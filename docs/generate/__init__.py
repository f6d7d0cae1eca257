"""The generated parts of the documentation: reference tables from the code, and the map of rooms."""
