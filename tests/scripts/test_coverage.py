import pytest

from scripts import coverage


@pytest.fixture(scope="module")
def ckpt_path(trained_run):
    return trained_run.run_dir / "checkpoints" / "last.ckpt"


def test_every_network_has_a_row_with_one_scale_and_one_for_each_sound(ckpt_path):
    one, each = coverage.rows_of(ckpt_path, 60)
    assert len(one) == len(each) == len(coverage.COLUMNS)
    assert [row[2] for row in (one, each)] == ["one scale", "each sound"]
    shares = [float(cell) for row in (one, each) for cell in row[3:8]]
    assert all(0 <= share <= 1 for share in shares)
    assert one[3:8] == each[3:8]  # 46 sounds are too few to fit anything
    assert each[8].endswith("(+0.0%)")


def test_the_table_goes_between_its_marks(ckpt_path, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{coverage.MARKS[0]}\n\nold\n\n{coverage.MARKS[1]}\nafter\n")
    monkeypatch.setattr(coverage, "PAGE", page)
    assert coverage.main(["--page", "--sounds", "20", str(ckpt_path)]) == 0
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert text.count("| one scale |") == 1


def test_what_is_no_checkpoint_is_refused(tmp_path, capsys):
    assert coverage.main([str(tmp_path / "gone.ckpt")]) == 1
    assert "there is no such file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        coverage.main([])
