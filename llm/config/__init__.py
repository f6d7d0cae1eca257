"""A YAML recipe becomes a validated, frozen schema; mistakes are explained in words."""
