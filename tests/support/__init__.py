"""What several tests need and no test is about: a real Valkey, and a proxy that loses what passes through it."""
