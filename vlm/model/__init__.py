"""A language model, a tower and a projector become one model that trains and answers."""
