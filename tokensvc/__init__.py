"""tokensvc issues single-use ImageKit upload credentials and serves ImageKit's upload API."""

__version__ = "0.1.0"
