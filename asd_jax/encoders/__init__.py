"""Networks: from front-end output to embeddings."""
