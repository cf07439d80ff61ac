"""The meta file of a challenge system: built, written as yaml, checked."""

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from asd_jax import errors

MAX_ABBREVIATION = 10
DESCRIPTION = (
  "input_sampling_rate",
  "data_augmentation",
  "front_end",
  "acoustic_features",
  "embeddings",
  "machine_learning_method",
  "aggregation_method",
  "domain_adaptation_method",
  "domain_generalization_method",
  "ensemble_method_subsystem_count",
  "decision_making",
  "attribute_usage",
  "external_data_usage",
  "development_data_usage",
)
RESULTS = ("auc_source", "auc_target", "pauc")
# What PyYAML raises: of texts that are no YAML its own error, of a tag whose
# value does not fit (`!!int ""`, `!!bool x`) whatever Python made of it.
_UNREADABLE = (
  ArithmeticError,
  AttributeError,
  LookupError,
  OSError,
  RecursionError,
  TypeError,
  ValueError,
  yaml.YAMLError,
)
_NULL = "asd-jax-null-6b0c1f"  # stands for !!null while yaml writes


def build(
  label: str,
  *,
  name: str = "asd_jax",
  abbreviation: str = "asd_jax",
  authors: Sequence[Mapping[str, Any]] | None = None,
  description: Mapping[str, Any] | None = None,
  total_parameters: int | None = None,
  macs: int | None = None,
  external_datasets: Sequence[Mapping[str, str]] | None = None,
  source_code: str | None = None,
  development: Mapping[str, Mapping[str, float | None]] | None = None,
) -> dict[str, Any]:
  """The content of a system's meta file; None becomes an empty value.

  Args:
    label: `<LastName>_<Institute>_task2_<1..4>`.
    name: of the system, any length.
    abbreviation: at most ten characters.
    authors: mappings as `_author_of` makes them, one of them corresponding;
      None takes a single author from the label.
    description: values for some of the keys in `DESCRIPTION`.
    total_parameters: of all models together.
    macs: multiply-accumulate operations of one clip.
    external_datasets: mappings with name and url; empty if there are none.
    source_code: its address.
    development: fractions (0 to 1) by machine and `RESULTS`, put in percent.

  Raises:
    InputError: a key of the description is unknown.
  """
  return {
    "submission": {
      "label": label,
      "name": name,
      "abbreviation": abbreviation,
      "authors": [dict(a) for a in authors or [_author_of(label)]],
    },
    "system": {
      "description": _description(label, description or {}),
      "complexity": {
        "total_parameters": _integer(total_parameters),
        "MACS": _integer(macs),
      },
      "external_datasets": _list(external_datasets),
      "source_code": source_code,
    },
    "results": {"development_dataset": _in_percent(development or {}) or None},
  }


def _list(items: Sequence[Mapping[str, str]] | None) -> list[Any] | None:
  return None if items is None else [dict(item) for item in items]


def _author_of(label: str) -> dict[str, Any]:
  """The author and affiliation that a label names."""
  last_name, institute = (*label.split("_"), "")[:2]
  return {
    "firstname": None,
    "lastname": last_name,
    "email": None,
    "corresponding": True,
    "affiliation": {
      "institution": institute,
      "department": None,
      "location": None,
    },
  }


def _description(label: str, given: Mapping[str, Any]) -> dict[str, Any]:
  """All keys in the official order, None where nothing is given."""
  if unknown := given.keys() - set(DESCRIPTION):
    raise errors.InputError(
      f"unknown keys {sorted(unknown)} in the description of {label}, "
      f"expected some of {', '.join(DESCRIPTION)}"
    )
  return {**dict.fromkeys(DESCRIPTION), "input_sampling_rate": "16kHz", **given}


def _in_percent(
  development: Mapping[str, Mapping[str, float | None]],
) -> dict[str, dict[str, float | None]]:
  """Fractions of each machine in percent."""
  # Rounded, since 100 * 0.57 is 56.99999999999999.
  percent = lambda v: None if v is None else round(100 * float(v), 6)
  return {
    machine: {key: percent(values.get(key)) for key in RESULTS}
    for machine, values in development.items()
  }


def _integer(value: int | None) -> int | None:
  """Turns NumPy integers into Python's, which yaml knows."""
  return None if value is None else operator.index(value)


def _with_nulls(value: Any) -> Any:
  """Puts a word in the place of every None, which yaml would leave out."""
  if isinstance(value, Mapping):
    return {key: _with_nulls(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [_with_nulls(item) for item in value]
  return _NULL if value is None else value


def dump(content: Mapping[str, Any]) -> str:
  """Content as yaml text, every None as `!!null`.

  Raises:
    InputError: a value is of a type that yaml has no word for.
  """
  try:
    # In the order of the official form, and each text on one line.
    text = yaml.safe_dump(
      _with_nulls(content), sort_keys=False, allow_unicode=True, width=math.inf
    )
  except yaml.YAMLError as error:
    raise errors.InputError(
      f"the meta data cannot be written: {error}"
    ) from error
  return text.replace(_NULL, "!!null")


_TEXT, _NUMBER = (str,), (int, float)
_NOTHING = type(None)
_TYPES: dict[str, tuple[type, ...]] = {
  "submission.label": _TEXT,
  "submission.name": _TEXT,
  "submission.abbreviation": _TEXT,
  "submission.authors": (list,),
  "system.description.ensemble_method_subsystem_count": (int, _NOTHING),
  "system.complexity.total_parameters": (int, _NOTHING),
  "system.complexity.MACS": (int, float, _NOTHING),
  "system.external_datasets": (list, _NOTHING),
  "system.source_code": (str, _NOTHING),
  "results.development_dataset": (dict, _NOTHING),
}
# Real packages leave it out.
_OPTIONAL = ("system.complexity.MACS",)
_AUTHOR = (
  "firstname",
  "lastname",
  "email",
  "affiliation.institution",
  "affiliation.department",
  "affiliation.location",
)
_WORDS = {
  str: "text",
  int: "an integer",
  float: "a number",
  list: "a list",
  dict: "a mapping",
  _NOTHING: "!!null",
}
_MISSING = object()


def _paths(content: Mapping[str, Any], above: str = "") -> list[str]:
  """Dotted paths of the leaves."""
  paths = []
  for key, value in content.items():
    inside = isinstance(value, Mapping)
    paths += _paths(value, f"{above}{key}.") if inside else [above + key]
  return paths


def _get(content: Any, path: str) -> Any:
  """The value at a dotted path, `_MISSING` when there is none."""
  for key in path.split("."):
    if not isinstance(content, Mapping) or key not in content:
      return _MISSING
    content = content[key]
  return content


def _is_a(value: Any, kinds: tuple[type, ...]) -> bool:
  """Tells the type; a truth value is no number."""
  # Python's `True` is an `int`.
  return isinstance(value, kinds) and not isinstance(value, bool)


def _key_problems(content: Mapping[str, Any]) -> list[str]:
  """Keys that are missing and values of a wrong type."""
  problems = []
  # The keys that we write ourselves are those that must be there. More are
  # fine.
  for path in _paths(build("")):
    value = _get(content, path)
    kinds = _TYPES.get(path)
    if value is _MISSING:
      if path not in _OPTIONAL:
        problems.append(f"{path} is missing")
    elif kinds and not _is_a(value, kinds):
      wanted = " or ".join(_WORDS[kind] for kind in kinds)
      problems.append(f"{path} is {value!r}, expected {wanted}")
  return problems


def _author_problems(authors: Any) -> list[str]:
  """Authors' keys, and whether one of them corresponds."""
  if not isinstance(authors, list):
    return []
  problems = [
    f"author {number}: {path} is missing"
    for number, author in enumerate(authors, 1)
    for path in _AUTHOR
    if _get(author, path) is _MISSING
  ]
  flags = [_get(author, "corresponding") for author in authors]
  num = sum(flag is True for flag in flags)
  if num != 1:
    problems.append(f"{num} corresponding authors, expected exactly 1")
  return problems


def _result_problems(results: Any) -> list[str]:
  """Development results: numbers in percent."""
  problems = []
  for machine, values in results.items() if isinstance(results, dict) else ():
    for key in RESULTS:
      value = _get(values, key)
      where = f"results.development_dataset.{machine}.{key}"
      if value is _MISSING:
        problems.append(f"{where} is missing")
      elif value is None:
        continue
      elif not _is_a(value, _NUMBER) or not 0 <= value <= 100:
        problems.append(f"{where} is {value!r}, expected percent (0 to 100)")
      elif key == "pauc" and value <= 1:  # the worst pAUC is 47.4 %
        problems.append(f"{where} is {value!r}: a fraction? expected percent")
  return problems


def problems_of(content: Any, label: str) -> list[str]:
  """Says what is wrong with the content of a meta file.

  Args:
    content: what yaml made of it.
    label: of the system, the name of its folder.

  Returns:
    One text a problem; empty when it is valid.
  """
  if not isinstance(content, Mapping):
    return [f"holds {type(content).__name__}, expected a mapping"]
  problems = _key_problems(content)
  given = _get(content, "submission.label")
  if isinstance(given, str) and given != label:
    problems.append(f"submission.label is {given!r}, expected {label!r}")
  short = _get(content, "submission.abbreviation")
  if isinstance(short, str) and not 0 < len(short) <= MAX_ABBREVIATION:
    problems.append(
      f"submission.abbreviation {short!r} has {len(short)} characters, "
      f"expected 1 to {MAX_ABBREVIATION}"
    )
  datasets = _get(content, "system.external_datasets")
  for number, entry in enumerate(
    datasets if _is_a(datasets, (list,)) else (), 1
  ):
    for key in ("name", "url"):
      if _get(entry, key) is _MISSING:
        problems.append(f"external dataset {number}: {key} is missing")
  problems += _author_problems(_get(content, "submission.authors"))
  problems += _result_problems(_get(content, "results.development_dataset"))
  return problems


def left_to_fill(content: Any, *, above: str = "") -> list[str]:
  """Names the values that are empty, which only the author can know.

  Args:
    content: of a valid meta file, or a part of it.
    above: place of the part.

  Returns:
    Dotted paths, numbers from 1 in lists.
  """
  if content is None:
    return [above]
  parts: Iterable[tuple[Any, Any]] = ()
  if isinstance(content, Mapping):
    parts = content.items()
  elif isinstance(content, list):
    parts = enumerate(content, 1)
  return [
    path
    for key, value in parts
    for path in left_to_fill(value, above=f"{above}.{key}".lstrip("."))
  ]


def read(system: Path, label: str) -> tuple[Any, str, list[str]]:
  """Reads the meta file of a system folder.

  Args:
    system: its folder.
    label: its name.

  Returns:
    Its content, its name, and why it cannot be read, else nothing.
  """
  # Packages of 2025 have `.yml`.
  found = sorted(p.name for p in system.glob("*.meta.y*ml"))
  names = (f"{label}.meta.yaml", f"{label}.meta.yml")
  if len(found) != 1 or found[0] not in names:
    listed = ", ".join(found) or "none"
    return None, "", [f"meta files: {listed}; expected {names[0]}"]
  try:
    content = yaml.safe_load((system / found[0]).read_text(encoding="utf-8"))
  except _UNREADABLE as error:
    why = " ".join(str(error).split())
    return None, found[0], [f"{found[0]}: cannot be read: {why}"]
  return content, found[0], []


def problems_in(system: Path, label: str) -> list[str]:
  """Finds and checks the meta file of a system folder.

  Args:
    system: its folder.
    label: its name.

  Returns:
    One text a problem; empty when there is one valid meta file.
  """
  content, name, problems = read(system, label)
  if problems:
    return problems
  return [f"{name}: {text}" for text in problems_of(content, label)]
