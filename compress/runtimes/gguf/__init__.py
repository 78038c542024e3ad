"""llama.cpp, which reads GGUF."""
