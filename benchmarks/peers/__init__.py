"""Ours beside what people use instead: a memory layer, and a vector store with a filter."""
