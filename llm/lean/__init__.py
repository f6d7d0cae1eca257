"""An optional forward and backward pass for Llama-like layers that saves memory; deletable."""
