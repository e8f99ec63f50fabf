"""Gatehouse as a client of the communities' own identity providers (OpenID Connect Core, relying party)."""
