"""Published numbers as data, in percent as they are printed.

A number of ours compares with one of these only if both mean the same:

* `set`: the development or the evaluation machines;
* `measure`: "ensemble" is what the mean of the scores of several trainings
  reaches; "runs" the mean of what each alone reaches; "means" the harmonic mean
  of the metrics' means over runs. Of a system that draws nothing all are one;
* `domain_auc`: "official" holds the normal clips of a domain against the
  anomalies of both, "same" against those of that domain.

A row is AUC (source), AUC (target), pAUC and their harmonic mean, or the last
alone. `of` makes the block `published` of a config from them; systems that are
not here yet have their numbers too.
"""

DEVELOPMENT = (
  "ToyCar", "ToyCarEmu", "bearingEmu", "fan", "gearboxEmu", "sliderEmu",
  "valveEmu",
)  # fmt: skip
EVALUATION = (
  "ToyDrone", "ToothBrush", "SewingMachine", "BlowerDustCollector", "Sander",
)  # fmt: skip
METRICS = ("auc_source", "auc_target", "pauc", "score")

# Where a table leaves a value out.
_ = None

# The development set, [Dongyuan26] table 1, from the task's description: means
# over runs. The machines' harmonic means are those of [MERL26] table 5.
BASELINE = dict(
  baseline_mse=(
    (75.62, 37.87, 54.03, 51.60),
    (69.62, 61.20, 55.89, 61.73),
    (62.34, 59.56, 59.85, 60.56),
    (61.45, 46.94, 53.33, 53.26),
    (68.23, 49.78, 52.94, 55.93),
    (67.25, 45.05, 50.38, 52.71),
    (67.74, 68.78, 55.08, 63.22),
    (67.18, 50.85, 54.37, 56.66),
  ),
  baseline_mahala=(
    (77.28, 53.17, 58.25, 61.33),
    (69.49, 66.62, 53.47, 62.37),
    (65.92, 62.28, 60.42, 62.79),
    (60.00, 45.09, 52.29, 51.75),
    (74.48, 52.74, 53.97, 58.92),
    (66.36, 49.18, 50.36, 54.29),
    (56.60, 56.50, 50.20, 54.26),
    (66.46, 54.24, 53.91, 57.66),
  ),
)
# The evaluation set: one run, of seed 13711 [DCASE26eval].
BASELINE_EVALUATION = dict(
  baseline_mse=(
    (71.26, 46.80, 55.1053, _),
    (59.02, 64.34, 59.7895, _),
    (64.84, 61.42, 58.1053, _),
    (69.48, 88.38, 61.7895, _),
    (67.14, 44.02, 50.8947, _),
    (66.0624, 57.3243, 56.8731, 59.8029),
  ),
  baseline_mahala=(
    (72.76, 54.28, 59.2632, _),
    (43.98, 39.40, 52.7895, _),
    (60.34, 43.76, 50.5789, _),
    (67.66, 87.20, 63.8947, _),
    (69.80, 45.10, 49.4737, _),
    (60.8564, 49.8522, 54.6737, 54.7628),
  ),
)
# [LUDO26] table 3. It calls the means of its columns harmonic; those of systems
# 1, 2 and 4 are arithmetic. The scores are right.
LUDO = dict(
  ludo_system1=(
    (84.16, 77.84, 61.79, 73.33),
    (60.46, 79.50, 49.47, 60.81),
    (65.06, 64.22, 60.16, 63.07),
    (51.00, 46.94, 52.89, 50.15),
    (70.16, 54.76, 52.95, 58.36),
    (81.82, 68.44, 55.53, 66.90),
    (79.74, 85.28, 71.84, 78.56),
    (70.34, 68.14, 57.80, 63.24),
  ),
  ludo_system2=(
    (79.56, 85.30, 59.47, 72.98),
    (62.40, 80.60, 50.00, 61.94),
    (66.80, 60.78, 60.53, 62.57),
    (58.04, 45.40, 52.89, 51.58),
    (74.72, 54.94, 52.95, 59.44),
    (80.68, 65.50, 55.05, 65.46),
    (74.80, 78.08, 56.74, 68.49),
    (71.00, 67.23, 55.38, 62.55),
  ),
  ludo_system3=(
    (82.50, 79.92, 60.26, 72.77),
    (58.14, 82.82, 49.74, 60.75),
    (63.28, 60.32, 59.95, 61.15),
    (52.56, 45.52, 52.95, 50.10),
    (70.70, 54.76, 53.11, 58.55),
    (77.74, 64.26, 55.37, 64.54),
    (76.94, 85.24, 69.00, 76.49),
    (67.21, 64.40, 56.61, 62.41),
  ),
  ludo_system4=(
    (73.50, 70.10, 61.63, 68.03),
    (70.84, 71.76, 58.11, 66.28),
    (57.56, 59.54, 59.32, 58.79),
    (56.08, 54.40, 53.21, 54.54),
    (75.86, 48.14, 53.74, 57.07),
    (74.00, 49.34, 51.95, 56.57),
    (63.00, 65.52, 52.58, 59.82),
    (67.26, 59.83, 55.79, 59.80),
  ),
)
# [KonicaMinolta26] table 2; and its text, of the branches of system 3 alone.
KONICA = dict(
  konica_system1=(
    (87.12, 53.56, 62.84, _),
    (61.42, 88.56, 55.05, _),
    (57.74, 55.82, 53.79, _),
    (75.60, 60.70, 58.68, _),
    (82.68, 71.46, 56.58, _),
    (76.80, 57.12, 54.16, _),
    (75.48, 85.73, 62.53, _),
    (_, _, _, 64.41),
  ),
  konica_system3=(
    (81.30, 49.69, 56.95, _),
    (70.68, 70.52, 56.50, _),
    (60.48, 61.34, 59.89, _),
    (85.29, 62.29, 51.89, _),
    (74.26, 57.57, 55.79, _),
    (70.47, 54.89, 53.45, _),
    (75.11, 78.44, 54.50, _),
    (_, _, _, 62.34),
  ),
  konica_system4=(
    (78.28, 46.46, 56.63, _),
    (70.10, 67.58, 58.53, _),
    (61.40, 63.76, 60.68, _),
    (89.04, 67.02, 55.00, _),
    (76.14, 54.08, 56.21, _),
    (69.56, 54.26, 52.58, _),
    (71.88, 76.14, 53.37, _),
    (_, _, _, 62.15),
  ),
)
# System 2 is the mean of four trainings' scores.
KONICA_FOUR = dict(
  konica_system2=(
    (88.08, 52.80, 61.84, _),
    (55.42, 91.04, 52.11, _),
    (55.80, 51.10, 52.74, _),
    (80.76, 59.42, 57.32, _),
    (81.62, 74.64, 65.26, _),
    (75.70, 53.66, 52.89, _),
    (73.86, 88.24, 66.00, _),
    (_, _, _, 63.72),
  ),
)
KONICA_ALONE = dict(konica_ablation_dif=62.18, konica_ablation_eat=60.96)
# Its table 3, each step on top of the one before: the last is system 1.
KONICA_STEPS = dict(
  frozen=56.27,
  full=62.07,
  mask=64.41,
)
# Its text: points by which a choice falls behind system 1's (of DANN, the most
# that it gains). What it says of other choices has no numbers.
KONICA_DIFFERENCES = dict(
  mask_power=-1.3,
  cosface=-0.8,
  elasticface=-2.5,
  magface=-2.6,
  lora=-3.3,
  dann=0.2,
)
# [Dongyuan26] table 1: domain AUCs with anomalies of the same domain. It gives
# the score of system 1 only; of the others it follows from the columns.
DONGYUAN = dict(
  dongyuan_system1=(
    (73.16, 81.36, 63.68, _),
    (70.32, 69.32, 55.26, _),
    (56.36, 58.84, 55.47, _),
    (70.80, 57.92, 52.37, _),
    (77.16, 57.88, 53.21, _),
    (49.48, 55.88, 48.79, _),
    (89.56, 68.60, 59.37, _),
    (67.25, 63.22, 55.10, 61.43),
  ),
  dongyuan_system2=(
    (74.36, 80.60, 63.05, _),
    (68.64, 68.28, 54.68, _),
    (57.32, 55.44, 53.37, _),
    (75.76, 60.80, 53.16, _),
    (77.04, 58.36, 52.95, _),
    (48.84, 55.52, 48.16, _),
    (90.12, 67.24, 60.26, _),
    (67.82, 62.75, 54.71, 61.28),
  ),
  dongyuan_system3=(
    (73.00, 81.24, 63.58, _),
    (71.36, 67.48, 55.95, _),
    (56.76, 58.80, 55.37, _),
    (70.20, 56.48, 52.16, _),
    (76.52, 57.60, 53.11, _),
    (49.16, 56.16, 48.79, _),
    (89.40, 68.56, 59.42, _),
    (67.20, 62.73, 55.12, 61.27),
  ),
  dongyuan_system4=(
    (72.88, 80.80, 63.00, _),
    (72.32, 65.00, 57.53, _),
    (56.88, 58.76, 55.47, _),
    (68.20, 54.32, 52.00, _),
    (75.44, 57.36, 52.89, _),
    (49.20, 56.76, 48.89, _),
    (89.48, 68.72, 59.47, _),
    (66.95, 62.06, 55.25, 61.04),
  ),
)
# Scores by machine, then over all. [KATECH26] table 3, ten-seed ensembles;
# system 1's parts, from the text, are arithmetic means over machines.
KATECH = dict(
  katech_system1=(70.0, 64.5, 61.4, 62.6, 65.5, 58.5, 79.6, 65.44),
  katech_system2=(71.5, 65.2, 61.5, 61.7, 64.1, 58.5, 60.7, 63.08),
  katech_system3=(71.3, 60.6, 61.3, 66.0, 65.0, 57.2, 52.3, 61.40),
  katech_system4=(71.3, 64.7, 61.6, 61.0, 64.7, 58.1, 80.8, 65.34),
)
KATECH_PARTS = dict(
  katech_system1=(74.41, 66.07, 60.37),
  katech_ablation_ada_sub=(73.96, 64.56, 59.95),
)
# [KATECH26] tables 1 and 2: mean and deviation over ten seeds on all machines,
# the ensemble, and mean and deviation on the fan alone.
KATECH_LADDER = dict(
  ae=(60.29, 0.83, 59.70, 54.13, 1.87),
  ref_sub=(62.65, 1.28, 61.53, 58.69, 2.30),
  ada_sub=(63.70, 0.62, 64.70, 60.08, 0.31),
  ada_sub_domain=(64.31, 0.57, 65.44, _, _),
  coh_gate=(60.35, 0.44, _, 65.51, 0.77),
  combo=(61.82, 1.00, _, 65.19, 1.14),
)
# [KATECH26] table 4: scores of AdaSub and of CohGate. The harmonic means of the
# columns, 64.3 and 60.1 (and 65.1 of the better one), are not the totals that
# the report gives: 64.70 of the ensemble of AdaSub, and of CohGate none.
KATECH_BY_MACHINE = dict(
  ToyCar=(69.8, 68.0),
  ToyCarEmu=(63.9, 57.5),
  bearingEmu=(59.9, 59.9),
  fan=(60.2, 65.4),
  gearboxEmu=(64.5, 63.4),
  sliderEmu=(58.2, 57.7),
  valveEmu=(77.4, 51.6),
)
KATECH_COLUMNS = dict(ada_sub=64.70, coh_gate=0.0)
# The better of the two on each machine, which only labels tell: a bound.
KATECH_ORACLE = 65.70
# [MERL26] tables 5 and 3: scores averaged over three trainings.
MERL = dict(
  merl_system1=(70.71, 63.11, 59.15, 55.86, 65.61, 68.69, 89.70, 66.20),
  merl_system2=(57.11, 58.19, 62.76, 55.36, 64.19, 66.38, 90.73, 63.43),
  merl_system3=(54.14, 57.80, 65.28, 52.95, 69.66, 73.19, 95.99, 64.57),
  merl_system4=(55.73, 56.51, 62.37, 57.69, 68.89, 66.12, 90.21, 63.79),
)
MERL_ENCODERS = dict(
  merl_beats=(57.40, 57.62, 62.94, 52.12, 64.43, 63.57, 66.59, 60.28),
  merl_eat=(55.21, 59.24, 62.74, 50.96, 61.16, 60.71, 67.62, 59.24),
  merl_eat_large=(55.10, 56.73, 61.23, 51.74, 61.09, 60.59, 80.27, 59.95),
  merl_na_beats=(57.26, 58.57, 62.48, 53.15, 64.43, 65.77, 93.34, 63.18),
  merl_na_eat=(55.73, 57.69, 62.37, 56.58, 63.77, 66.12, 90.21, 63.13),
  merl_dis_beats=(53.24, 57.48, 64.07, 51.26, 66.39, 66.52, 79.28, 61.40),
  merl_dis_eat=(52.19, 59.13, 62.84, 50.90, 63.53, 58.63, 68.67, 58.83),
  merl_dis_na_beats=(53.45, 58.31, 65.85, 52.19, 69.44, 69.41, 95.21, 63.92),
  merl_dis_na_eat=(54.25, 56.51, 62.62, 57.69, 68.89, 71.38, 92.32, 64.35),
)
# [LUDO26] figure 2, as far as its text prints numbers: the last layer of an
# encoder, near channel alone, Residual View, and with prototypes. (Table 3 has
# 63.24 and 59.80 where this has 63.19 and 59.89.)
LUDO_ZOO = dict(
  sslam_base=(61.02, 62.41, 63.19),
  audiomaepp_tiny=(56.67, _, 59.89),
)
LUDO_STEPS = ("near", "residual", "prps")
# What the reports say of the recordings: median noise transfer G [KATECH26],
# correlation of near and far, their power ratio in dB and the share of bins at
# the mask's floor [KonicaMinolta26].
FACTS = dict(
  ToyCar=dict(noise_transfer=44.1, power_ratio_db=21.0),
  ToyCarEmu=dict(noise_transfer=2.20),
  bearingEmu=dict(noise_transfer=1.28),
  fan=dict(
    noise_transfer=0.94,
    correlation=0.86,
    power_ratio_db=-0.6,
    share_at_floor=0.36,
  ),
  gearboxEmu=dict(noise_transfer=0.92),
  sliderEmu=dict(noise_transfer=1.14),
  valveEmu=dict(noise_transfer=1.21),
)

# Rows of the development set, their report, and what the numbers are.
_TABLES = (
  (BASELINE, "[DCASE26base]", "means", "official"),
  (LUDO, "[LUDO26]", "runs", "official"),
  (KONICA, "[KonicaMinolta26]", "runs", "official"),
  (KONICA_FOUR, "[KonicaMinolta26]", "ensemble", "official"),
  (KONICA_ALONE, "[KonicaMinolta26]", "runs", "official"),
  (DONGYUAN, "[Dongyuan26]", "runs", "same"),
  (KATECH, "[KATECH26]", "ensemble", "official"),
  (MERL, "[MERL26]", "ensemble", "official"),
  (MERL_ENCODERS, "[MERL26]", "ensemble", "official"),
)


def names():
  """Systems with a published score, report by report."""
  return [name for rows, *_ in _TABLES for name in rows]


def of(name, **more):
  """The block `published` of a system's config.

  Args:
    name: one of `names`.
    **more: further entries.

  Returns:
    `development` and `evaluation`, scores as fractions, 0.0 where none is
    published; `machines`, by machine and metric, of both sets; `source`,
    `measure` and `domain_auc`; `parts` where means over machines are known.
  """
  ((rows, source, measure, domain_auc),) = (t for t in _TABLES if name in t[0])
  machines, total = _read(rows[name], DEVELOPMENT)
  evaluation = 0.0
  if name in BASELINE_EVALUATION:
    others, evaluation = _read(BASELINE_EVALUATION[name], EVALUATION)
    machines |= others
  found = dict(
    development=total, evaluation=evaluation, source=source, measure=measure,
    domain_auc=domain_auc, machines=machines,
  )  # fmt: skip
  if name in KATECH_PARTS:
    found["parts"] = parts(name)
  return {**found, **more}


def rung(name):
  """The block `published` of a rung of KATECH's ladder.

  Args:
    name: of `KATECH_LADDER`; of any other nothing is published.

  Returns:
    As `of`; what single trainings reach stands beside it under `runs`.
  """
  mean, std, ensemble, fan, fan_std = KATECH_LADDER.get(name, (_,) * 5)
  found = dict(
    development=fraction(ensemble or mean or 0.0), evaluation=0.0,
    source="[KATECH26]", measure="ensemble" if ensemble else "runs",
    domain_auc="official",
  )  # fmt: skip
  if mean:
    found["runs"] = dict(score=fraction(mean), std=fraction(std), machines={})
  if fan:
    on_fan = dict(score=fraction(fan), std=fraction(fan_std))
    found["runs"]["machines"] = dict(fan=on_fan)
  if f"katech_ablation_{name}" in KATECH_PARTS:
    found["parts"] = parts(f"katech_ablation_{name}")
  return found


def step(row):
  """The block `published` of a row of Konica Minolta's ablation of system 1.

  Args:
    row: of `configs/konica_ablation.py`.

  Returns:
    As `of`, and `difference`, a fraction, to system 1's score; zero where
    none is published.
  """
  return dict(
    development=fraction(KONICA_STEPS.get(row, 0.0)), evaluation=0.0,
    source="[KonicaMinolta26]", measure="runs", domain_auc="official",
    machines={}, difference=fraction(KONICA_DIFFERENCES.get(row, 0.0)),
  )  # fmt: skip


def column(name):
  """The block `published` of a column of KATECH's table 4.

  Args:
    name: of `KATECH_COLUMNS`.

  Returns:
    As `of`.
  """
  place = list(KATECH_COLUMNS).index(name)
  return dict(
    development=fraction(KATECH_COLUMNS[name]), evaluation=0.0,
    source="[KATECH26]", measure="ensemble", domain_auc="official",
    machines={
      m: dict(score=fraction(row[place]))
      for m, row in KATECH_BY_MACHINE.items()
    },
  )  # fmt: skip


def zoo(encoder, step):
  """The block `published` of an encoder in figure 2 of [LUDO26].

  Args:
    encoder: family and size, as in `LUDO_ZOO`; of any other nothing is printed.
    step: of `LUDO_STEPS`.

  Returns:
    As `of`.
  """
  row = dict(zip(LUDO_STEPS, LUDO_ZOO.get(encoder, (_,) * 3), strict=True))
  return dict(
    development=fraction(row[step] or 0.0), evaluation=0.0, source="[LUDO26]",
    measure="runs", domain_auc="official", machines={},
  )  # fmt: skip


def parts(name):
  """Arithmetic means over machines of a system of [KATECH26]."""
  values = map(fraction, KATECH_PARTS[name])
  return dict(zip(METRICS[:3], values, strict=True))


def fraction(percent):
  """A printed percentage as the fraction that is printed."""
  return round(percent / 100, 6)


def _read(row, machines):
  """`{machine: {metric: fraction}}` and the score over all."""
  if isinstance(row, float):  # the total alone
    return {}, fraction(row)
  *each, total = row
  if isinstance(total, float):  # scores alone
    each, total = [(_, _, _, v) for v in each], (_, _, _, total)
  found = {
    m: {k: fraction(v) for k, v in zip(METRICS, _scored(r), strict=True) if v}
    for m, r in zip(machines, each, strict=True)
  }
  return found, fraction(total[3])


def _scored(row):
  """A machine's row; a score that is left out is the mean of its values."""
  *values, score = row
  if score is None:
    score = len(values) / sum(1 / v for v in values)
  return *values, score
