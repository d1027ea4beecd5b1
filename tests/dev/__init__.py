"""The development server: its faults, its clock, and that nobody else has them."""
