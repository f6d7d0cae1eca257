"""GGUF files for llama.cpp, LM Studio and Ollama, checked by chatting with them."""
