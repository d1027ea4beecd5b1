"""A package only so that `tests.support` can be imported; the folders of tests are none."""
