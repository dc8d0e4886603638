"""``aiop data check`` with tasks that have nothing to say, and without any."""


def test_a_task_without_data_to_check(aiop):
    done = aiop("data", "check", "reference")
    assert done.code == 1
    assert "task 'reference' does not say what data it needs (no check_data); ask its authors" in done.err


def test_no_task(aiop):
    done = aiop("data", "check")
    assert done.code == 2
    assert "name a task with --task (installed: reference" in done.err


def test_help_without_and_with_a_task(aiop):
    assert "data check TASK [OPTIONS]" in aiop("data", "check", "--help").out
    assert "--task." in aiop("data", "check", "reference", "--help").out
