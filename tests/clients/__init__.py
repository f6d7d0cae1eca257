"""`make clients`: libraries of others talk to the served API, from an environment of their own."""
