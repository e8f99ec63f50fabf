"""Auth: the OAuth 2 and OpenID Connect front door that lets people and clients in."""
