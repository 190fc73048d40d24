"""The retrieval guard: defences against planted documents, over an index of one's own or any vector store."""
