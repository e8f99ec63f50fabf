"""Registry: who people are, which groups they belong to, and the ground everything stands on."""
