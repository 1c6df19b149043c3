"""Operations over the ties of a graph, one per file, each with the reference that its faster backends must equal."""
