"""What another web app imports. Each module here stands alone: it needs nothing else of tokensvc."""
