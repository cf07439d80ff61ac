import pytest

from asd_jax.data import truth

NAMES = [f"section_00_{i:04d}.wav" for i in range(4)]
LABELLED = [
  "section_00_source_test_normal_0007_car_A2_mic_2_mic_1",
  "section_00_target_test_normal_0001_car_A2_mic_2_mic_1",
  "section_00_source_test_anomaly_0003_car_B1_mic_2_mic_1",
  "section_00_target_test_anomaly_0003_volt_1.5",
]
FACTS = {
  NAMES[0]: truth.Truth("normal", "source", "car_A2_mic_2_mic_1"),
  NAMES[1]: truth.Truth("normal", "target", "car_A2_mic_2_mic_1"),
  NAMES[2]: truth.Truth("anomaly", "source", "car_B1_mic_2_mic_1"),
  NAMES[3]: truth.Truth("anomaly", "target", "volt_1.5"),
}
# The first clip stands last, as in the published tables of SewingMachine.
ORDER = [1, 2, 3, 0]


def write_tables(root, machine="ToyDrone", order=ORDER):
  columns = {
    "ground_truth_data": [0, 0, 1, 1],
    "ground_truth_domain": [0, 1, 0, 1],
    "ground_truth_attributes": LABELLED,
  }
  paths = {}
  for folder, column in columns.items():
    path = root / folder / f"ground_truth_{machine}_section_00_test.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{NAMES[i]},{column[i]}\n" for i in order))
    paths[folder] = path
  return paths


def find(root):
  return truth.find(p for p in (root, *root.rglob("*")) if p.is_dir())


def read(root, machine="ToyDrone", names=NAMES):
  return truth.read(find(root), machine, names)


def test_tables_are_joined_by_name_in_any_order(tmp_path):
  write_tables(tmp_path / "some" / "where")
  assert read(tmp_path) == FACTS
  assert read(tmp_path, names=NAMES[::-1]) == FACTS


def test_each_table_alone_tells_its_part(tmp_path):
  paths = write_tables(tmp_path)
  assert truth.read([paths["ground_truth_domain"]], "ToyDrone", NAMES)[
    NAMES[3]
  ] == truth.Truth(domain="target")
  assert truth.read([paths["ground_truth_data"]], "ToyDrone", NAMES)[
    NAMES[3]
  ] == truth.Truth(label="anomaly")


def test_tables_of_other_machines_are_left_alone(tmp_path):
  for path in write_tables(tmp_path, "Sander").values():
    path.write_text("damaged")
  assert read(tmp_path) == {}


def test_windows_line_ends_marks_and_blank_lines_are_read(tmp_path):
  for path in write_tables(tmp_path).values():
    text = path.read_text().replace("\n", "\r\n") + "\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
  assert read(tmp_path) == FACTS


@pytest.mark.parametrize(
  ("old", "new", "message"),
  [
    (f"{NAMES[2]},1\n", "", f"found 3 rows, expected 4.* {NAMES[2]}"),
    (NAMES[2], "section_00_0099.wav", r"unknown clips such as section_00_0099"),
    (NAMES[2], NAMES[1], f"line 2: found {NAMES[1]} again"),
    (
      f"{NAMES[2]},1",
      f"{NAMES[2]},2",
      "line 2: found .*,2, expected .*anomaly",
    ),
    (f"{NAMES[2]},1", f"{NAMES[2]}", "line 2: found .*expected a file name"),
    (f"{NAMES[2]},1", f"{NAMES[2]},0", "found label .* for section_00_0002"),
  ],
)
def test_wrong_rows_are_refused(tmp_path, old, new, message):
  path = write_tables(tmp_path)["ground_truth_data"]
  path.write_text(path.read_text().replace(old, new))
  with pytest.raises(ValueError, match=message) as caught:
    read(tmp_path)
  assert "ground_truth_" in str(caught.value)


def own(path, text):
  path.write_text(text)
  return truth.read_own(path, ["a, b.wav", "c.wav"])


def test_a_table_of_ones_own_is_joined_by_name(tmp_path):
  path = tmp_path / "labels.csv"
  plain = {
    "a, b.wav": truth.Truth("normal"),
    "c.wav": truth.Truth("anomaly"),
  }
  rows = 'c.wav,1\r\n"new\\a, b.wav",normal\r\n'
  assert own(path, rows) == plain
  assert own(path, "File,Label\n" + rows) == plain
  known = {
    "a, b.wav": truth.Truth("normal", "target"),
    "c.wav": truth.Truth("anomaly"),
  }
  rows = 'domain,who,label,file\n,me,Anomalous,x/c.wav\ntarget,,0,"a, b.wav"\n'
  assert own(path, rows) == known
  rows = '"a, b.wav",normal,1\nc.wav,anomaly\n'
  assert own(path, rows) == known


def test_a_table_of_ones_own_may_speak_of_machines(tmp_path):
  path = tmp_path / "labels.csv"
  rows = [f"{{}}/test/{n},{i % 2},{i // 2}" for i, n in enumerate(NAMES)]
  lines = [row.format(m) for m in ("fan", "pump") for row in rows]
  path.write_text("\n".join(["file,label,domain", *lines]))
  found = truth.read([path], "fan", NAMES)
  assert found[NAMES[2]] == truth.Truth("normal", "target")
  assert list(found) == NAMES
  assert truth.read([path], "valve", NAMES) == {}
  path.write_text(f"file,label\n{NAMES[0]},0\n")
  with pytest.raises(ValueError, match="expected <machine>/test/section_00_"):
    truth.read([path], "fan", NAMES)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("file,label\nc.wav,bad\n", "line 2: found c.wav,bad, expected .*normal"),
    ("c.wav,1,x\n", "line 1: found c.wav,x, expected .*source"),
    ("c.wav\n", "line 1: found c.wav,, expected .*normal"),
    ("c.wav,1\nnew/c.wav,1\n", "line 2: found c.wav again"),
    ("c.wav,1\n", "found 1 rows, expected 2; .* the first is a, b.wav"),
    ("c.wav,1\nd.wav,0\n", "unknown clips such as d.wav"),
    ("file,score\nc.wav,1\n", "line 1: found file,score, expected"),
    ("", "found 0 rows, expected 2"),
  ],
)
def test_wrong_rows_of_ones_own_are_refused(tmp_path, text, message):
  path = tmp_path / "labels.csv"
  with pytest.raises(ValueError, match=message) as caught:
    own(path, text)
  assert str(path) in str(caught.value)
  with pytest.raises(ValueError, match="found a folder, expected a csv"):
    truth.read_own(tmp_path, [])


def test_a_labelled_name_that_cannot_be_read_is_refused(tmp_path):
  path = write_tables(tmp_path)["ground_truth_attributes"]
  path.write_text(path.read_text().replace(LABELLED[1], "free words"))
  with pytest.raises(ValueError, match="line 1: found .*free words"):
    read(tmp_path)


def test_tables_of_two_years_are_refused(tmp_path):
  write_tables(tmp_path / "2024")
  write_tables(tmp_path / "2026")
  with pytest.raises(ValueError, match="second table of ToyDrone") as caught:
    read(tmp_path)
  assert str(tmp_path / "2024") in str(caught.value)
  assert str(tmp_path / "2026") in str(caught.value)


def write_list(path, rows):
  path.write_text("\n".join(["Sander", "x,y", "ToyDrone", *rows, "fan", "a,b"]))
  return path


def test_an_evaluation_list_tells_all(tmp_path):
  rows = [f"{NAMES[i]},{LABELLED[i]}.wav" for i in ORDER]
  path = write_list(tmp_path / "eval_data_list_2026.csv", rows)
  assert find(tmp_path) == [path]
  assert read(tmp_path) == FACTS


def test_an_evaluation_list_may_hold_labels_and_sections(tmp_path):
  names = ["id_01_00000000.wav", "id_03_00000000.wav"]
  path = write_list(
    tmp_path / "list.csv",
    [f"{names[0]},normal_{names[0]},0", f"{names[1]},anomaly_{names[1]},1"],
  )
  facts = truth.read([path], "ToyDrone", names)
  assert [facts[n].label for n in names] == ["normal", "anomaly"]
  path.write_text(path.read_text().replace(",1", ",0"))
  with pytest.raises(ValueError, match="found label normal for id_03"):
    truth.read([path], "ToyDrone", names)


def test_an_evaluation_list_must_start_with_a_machine(tmp_path):
  path = tmp_path / "eval_data_list_2026.csv"
  path.write_text(f"{NAMES[0]},{LABELLED[0]}\n")
  with pytest.raises(ValueError, match="line 1: .* machine name first"):
    read(tmp_path)


def test_renamed_copies_are_found_by_content(tmp_path):
  clips, copies = [], []
  for i in ORDER:
    clips.append(tmp_path / NAMES[i])
    copies.append(tmp_path / "copies" / f"{LABELLED[i]}.wav")
    copies[-1].parent.mkdir(exist_ok=True)
    clips[-1].write_bytes(bytes([i]))
    copies[-1].write_bytes(bytes([i]))
  assert truth.match_renamed(clips, sorted(copies)) == FACTS
  copies[0].write_bytes(b"other")
  with pytest.raises(ValueError, match=f"{NAMES[1]}: found 0 differently"):
    truth.match_renamed(clips, copies)
  copies[0].write_bytes(clips[1].read_bytes())
  with pytest.raises(ValueError, match=f"{NAMES[2]}: found 2 differently"):
    truth.match_renamed(clips[1:], copies)


def attributes(tmp_path, text):
  path = tmp_path / "attributes_00.csv"
  path.write_text(text)
  return truth.read_attributes(path)


def test_attributes_keep_repeats_and_stay_text(tmp_path):
  assert attributes(
    tmp_path,
    "file_name,d1p,d1v,d2p,d2v,d3p,d3v\n"
    "ToyCar/train/a.wav,car,B1,mic,2,mic,1\n"
    "ToyCar\\train\\b.wav,volt,1.50,wt,150,,\n"
    "c.wav,pro,y\n",
  ) == {
    "a.wav": "car_B1_mic_2_mic_1",
    "b.wav": "volt_1.50_wt_150",
    "c.wav": "pro_y",
  }


@pytest.mark.parametrize(
  "text",
  [
    "file_name\nfan/train/a.wav\n",
    "file_name,d1p,d1v\nfan/train/a.wav,,\n",
    "file_name,d1p,d1v\nfan/train/a.wav,noAttribute,\n",
    "file_name,d1p,d1v\nfan/train/a.wav,noAttribute,noAttribute\n",
    "file_name\nfan/train/a.wav,\n",
    "\ufefffile_name\r\n\r\nfan/train/a.wav\r\n",
  ],
)
def test_all_ways_to_say_no_attributes_are_alike(tmp_path, text):
  assert attributes(tmp_path, text) == {"a.wav": ""}


def test_file_names_with_commas_and_quotes_are_joined(tmp_path):
  text = 'file_name,d1p,d1v\n"fan/train/a, ""b"".wav",spd,1\n'
  assert attributes(tmp_path, text) == {'a, "b".wav': "spd_1"}


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", "expected file_name"),
    ("fan/train/a.wav,spd,1\n", "line 1: found 'fan/train/a.wav' as first"),
    ("file_name,d1p,d1v\na.wav,spd,1\na.wav,spd,2\n", "line 3: .*'spd_2'"),
  ],
)
def test_odd_attribute_tables_are_refused(tmp_path, text, message):
  with pytest.raises(ValueError, match=message):
    attributes(tmp_path, text)


def test_a_table_that_cannot_be_read_is_named(tmp_path):
  with pytest.raises(ValueError, match=r"gone\.csv: found no readable file"):
    truth.read_attributes(tmp_path / "gone.csv")
