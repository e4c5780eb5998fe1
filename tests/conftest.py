"""Settings of all tests."""

from hypothesis import Phase, settings

# The first example pays for torch's start, so a time limit by example would fail now and then; examples are the same
# in every run, so that a red test is red for everybody.
settings.register_profile("project", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("first-failure", settings.get_profile("project"), phases=[Phase.generate])
settings.load_profile("project")
