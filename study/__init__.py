"""The nouns: Study, Series, Instance, Volume, Finding and the codes they use. No I/O."""
