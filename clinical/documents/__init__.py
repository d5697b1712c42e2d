"""Clinical documents: how they are read, cut into sections and sentences, and what is marked in them."""
