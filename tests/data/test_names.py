import pytest

from asd_jax.data import names


@pytest.mark.parametrize(
  ("file_name", "expected"),
  [
    (
      "section_00_source_train_normal_0000_noAttribute.wav",
      ("00", "source", "train", "normal", "0000", ""),
    ),
    (
      "section_00_target_test_anomaly_0003_car_A2_spd_1_mic_2_mic_1.wav",
      ("00", "target", "test", "anomaly", "0003", "car_A2_spd_1_mic_2_mic_1"),
    ),
    ("section_00_0199.wav", ("00", None, None, None, "0199", "")),
    ("section_00_test_0000.wav", ("00", None, "test", None, "0000", "")),
    (
      "section_03_source_test_0000.wav",
      ("03", "source", "test", None, "0000", ""),
    ),
    (
      "section_00_source_normal_0035_weight15_BckgF.wav",
      ("00", "source", None, "normal", "0035", "weight15_BckgF"),
    ),
    (
      "section_00_source_train_normal_0000_volt_1.5_wt_150.wav",
      ("00", "source", "train", "normal", "0000", "volt_1.5_wt_150"),
    ),
    (
      "section_00_source_train_normal_0007_ac_0.03_.wav",
      ("00", "source", "train", "normal", "0007", "ac_0.03_"),
    ),
    (
      "section_00_source_train_normal_0007_.wav",
      ("00", "source", "train", "normal", "0007", ""),
    ),
    (
      "normal_id_01_00000012.wav",
      ("01", None, None, "normal", "00000012", ""),
    ),
    (
      "anomaly_id_04_00000000.wav",
      ("04", None, None, "anomaly", "00000000", ""),
    ),
    ("id_05_00000003.wav", ("05", None, None, None, "00000003", "")),
    (
      "section_00_machine_0001_.wav",
      ("00", None, "supplemental", None, "0001", ""),
    ),
    (
      "section_00_noise_source_0001_f-n_A.wav",
      ("00", "source", "supplemental", None, "0001", "f-n_A"),
    ),
  ],
)
def test_names_of_all_years_are_read(file_name, expected):
  assert names.parse(file_name) == names.Name(*expected)


@pytest.mark.parametrize(
  "file_name",
  [
    "",
    "bearing 1.wav",
    "section_00_0000.WAV",
    "section_00_0000.wav\n",
    "section_00_0000",
    "section_0_0000.wav",
    "section_00_000.wav",
    "section_٠٠_0000.wav",
    "target/section_00_0000.wav",
    "section_00_0000_a/b.wav",
    "<script>alert(1)</script>.wav",
    "xsection_00_0000.wav",
  ],
)
def test_other_names_are_not_official(file_name):
  assert names.parse(file_name) is None


def test_equal_indices_of_two_domains_are_different_names():
  source = names.parse("section_00_source_test_normal_0000_noAttribute.wav")
  target = names.parse("section_00_target_test_normal_0000_noAttribute.wav")
  assert source is not None
  assert target is not None
  assert source.index == target.index
  assert source != target


@pytest.mark.parametrize(
  ("text", "pairs"),
  [
    ("", ()),
    ("noAttribute", ()),
    (
      "car_D2_spd_5_mic_2_mic_1",
      (("car", "D2"), ("spd", "5"), ("mic", "2"), ("mic", "1")),
    ),
    ("volt_1.5_wt_150", (("volt", "1.5"), ("wt", "150"))),
    ("f-n_A", (("f-n", "A"),)),
    ("ac_0.03_", (("ac", "0.03"),)),
    ("volt_1.5_damage1", (("volt", "1.5"), ("damage1", ""))),
    ("spd1000_BckgC", (("spd1000", "BckgC"),)),
    ("pro_y", (("pro", "y"),)),
  ],
)
def test_attribute_pairs_keep_repeats_and_spelling(text, pairs):
  assert names.attribute_pairs(text) == pairs


def test_folding_hides_the_case_that_tells_the_label():
  normal = names.parse("section_00_target_test_normal_0038_pro_y.wav")
  anomaly = names.parse("section_00_target_test_anomaly_0000_pro_Y.wav")
  assert normal is not None
  assert anomaly is not None
  assert normal.attributes != anomaly.attributes
  assert names.fold(normal.attributes) == names.fold(anomaly.attributes)
  assert names.fold("ac_0.03_") == names.fold("AC_0.03")
  assert names.fold("noAttribute") == ""


@pytest.mark.parametrize("ending", [".wav", ".WAV", ".Flac", ".mp3"])
def test_names_of_files_may_end_in_any_way(ending):
  name = "section_01_target_test_anomaly_0003_spd_1.5"
  assert names.of_file(name + ending) == names.parse(f"{name}.wav")
