"""Language models: records in, training and answers out; imports no other package of ours."""
