from types import SimpleNamespace

from src.tasks.what_runs import waiting


def test_what_fresh_sounds_cost_is_said_and_nothing_of_stored_ones():
    fresh = SimpleNamespace(stream=True, makes_sounds=True, worked=40.04, waited=15.0)
    said = "Fresh sounds took 40.0 s of processor time; the training waited 15.0 of its 60.0 s for them (25 %)."
    assert waiting(fresh, 60.0) == said
    assert waiting(SimpleNamespace(stream=False, makes_sounds=False), 60.0) is None
    assert waiting(SimpleNamespace(stream=True, makes_sounds=True, worked=0.0, waited=0.0), 0.0).endswith("(0 %).")
