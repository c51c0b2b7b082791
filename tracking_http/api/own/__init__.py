"""Our own API, `/api`: what neither of the others has a word for."""
