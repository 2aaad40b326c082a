"""What the animal or person did: confusions, choices, and judgements of similarity."""
